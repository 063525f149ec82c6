"""Checkpoints and noted events in a bucket: what a folder promises, for processes that share nothing else."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from prometheus_client import REGISTRY

from app.core.audit import event_chains, recorder
from app.core.audit.shared_heads import SharedHeads, audit_storage, shared_heads
from app.core.db.unit_of_work import db
from app.core.storage.folder import Folder
from app.core.storage.protocol import Storage
from app.core.storage.s3 import S3Bucket
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.proof import old_heads
from app.proof.outside import checkpoint_objects
from app.proof.outside.checkpoint_file import DamagedFile
from app.proof.outside.checkpoint_objects import CheckpointObjects
from app.proof.report import Status
from app.proof.sealer import CannotSeal, checkpoint_log, is_late, log_name, seal
from app.proof.verification import verify
from tests.backends import Backend
from tests.conftest import BuildApp
from tests.factories import Make
from tests.object_store import ObjectStore
from tests.proof.administrator import as_administrator
from tests.server import free_port
from tests.spread import any_database
from tests.threads import run_concurrently, wait_until

pytestmark = any_database

LISTED = {"operation": "list", "outcome": "done"}


def checkpoint(size: int) -> tuple[int, str, str]:
    return size, f"note {size}", "2026-01-31T08:00:00.000000Z"


def sizes(log: CheckpointObjects) -> list[int]:
    return [entry.size for entry in log.measure().entries()]


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Folder(tmp_path)
    store: ObjectStore = request.getfixturevalue("object_store")
    name = store.new_bucket()
    return S3Bucket(f"s3://{name}/audit", store.settings(name))


def test_checkpoints_are_appended(storage: Storage) -> None:
    log = CheckpointObjects(storage, "log")
    assert (log.last(), log.written_at(), log.measure().is_empty, sizes(log)) == (None, None, True, [])
    log.append([checkpoint(3), checkpoint(5)])
    log.append([checkpoint(3), checkpoint(5)])
    log.append([checkpoint(5), checkpoint(12)])
    # Another worker has not seen what this one has written.
    log.write([(12, b'{"note":"note 12","size":12}'), (15, b'{"note":"note 15","size":15}')])
    assert sizes(log) == [3, 5, 12, 15]
    last = log.last()
    assert last is not None
    assert tuple(last) == (15, "note 15")
    assert log.measure().size == 15
    written_at = log.written_at()
    assert written_at is not None
    assert abs((utcnow() - written_at).total_seconds()) < 60
    assert len(list(storage.names())) == 3


def test_logs_share_a_place(storage: Storage) -> None:
    logs = [CheckpointObjects(storage, name) for name in ("a", "a-b", "b.c", "set")]
    for log in logs:
        log.append([checkpoint(1)])
        log.append([checkpoint(2)])
        SharedHeads(storage).note(log.name.removesuffix(".jsonl"), {1: (1, "mac")})
    for name in ("set-aside-20260131T080000Z.z.jsonl", "zz", "ä", "é.x"):
        storage.write(name, b"")
    for log in logs:
        assert sizes(log) == [1, 2]
        assert sorted(other.name for other in log.others()) == sorted(other.name for other in logs if other is not log)


def test_many_objects_are_merged(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_objects, "SINGLE_OBJECTS", 4)
    monkeypatch.setattr(checkpoint_objects, "MERGED_LINES", 3)
    log = CheckpointObjects(storage, "log")
    before = None
    for size in range(1, 12):
        log.append([checkpoint(size)])
        if size == 4:
            before = log.measure()
    assert sizes(log) == list(range(1, 12))
    assert len(list(storage.names())) < 8
    last = log.last()
    assert last is not None
    assert last.size == 11
    # One that began to read before the objects were merged finds the lines where they are now.
    assert before is not None
    assert [entry.size for entry in before.entries()] == [1, 2, 3, 4]


def test_a_storage_that_refuses_to_delete_keeps_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_objects, "SINGLE_OBJECTS", 2)
    log = CheckpointObjects(AppendOnly(tmp_path), "log")
    for size in range(1, 5):
        log.append([checkpoint(size)])
    assert sizes(log) == [1, 2, 3, 4]


class AppendOnly(Folder):
    """A bucket whose objects are locked."""

    def write(self, name: str, content: bytes) -> None:
        assert not (self.path / name).exists()
        super().write(name, content)

    def delete(self, names: object) -> None:
        raise checkpoint_objects.StorageError("The object is locked.")


def test_what_is_damaged_is_said(storage: Storage) -> None:
    log = CheckpointObjects(storage, "log")
    log.append([checkpoint(1)])
    log.append([checkpoint(2)])
    first, second = storage.names()
    extent = log.measure()
    storage.delete([first])
    assert [entry.size for entry in extent.entries()] == [2]
    storage.write(second, b"nonsense\n")
    assert log.measure().size == 0
    with pytest.raises(DamagedFile):
        log.last()
    with pytest.raises(DamagedFile):
        sizes(log)


@pytest.fixture
def shared(build_app: BuildApp, object_store: ObjectStore) -> Flask:
    """An application that keeps its checkpoints in a bucket."""
    return on_bucket(build_app, object_store, object_store.new_bucket())


def on_bucket(build_app: BuildApp, object_store: ObjectStore, bucket: str) -> Flask:
    return build_app(**object_store.settings(bucket) | {"AUDIT_CHECKPOINTS": f"s3://{bucket}/checkpoints"})


def test_processes_share_checkpoints_and_events(
    build_app: BuildApp, object_store: ObjectStore, backend: Backend, make: Make
) -> None:
    """What one has sealed and noted, another one verifies; neither finds sealing late."""
    bucket = object_store.new_bucket()
    one, other = (on_bucket(build_app, object_store, bucket) for _ in range(2))
    make(Datacenter)
    with one.app_context():
        recorder.record("denied", "users", 1, "somebody")
        db.session.commit()
        seal()
        wait_for_heads(1)
    with other.app_context():
        assert not is_late()
        report = verify()
        assert (report.status, report.checkpoints, report.unsealed) == (Status.INTACT, 1, 0)
        recorder.record("denied", "users", 1, "somebody else")
        db.session.commit()
        wait_for_heads(2)
        seal()
    with one.app_context():
        assert verify().status is Status.INTACT
        assert [head.number for head in event_chains.read(log_name())] in ([2], [1, 1])


def test_readiness_lists_the_bucket_once(shared: Flask, make: Make) -> None:
    make(Datacenter)
    with shared.app_context():
        seal()
        recorder.record("denied", "users", 1, "somebody")
        db.session.commit()
        wait_for_heads(1)
        storage = audit_storage()
        assert storage is not None
        before = list_calls()
        list(storage.names())
        once = list_calls() - before
        assert not is_late()
        assert list_calls() - before == 2 * once


def list_calls() -> float:
    return REGISTRY.get_sample_value("itam_storage_call_duration_seconds_count", LISTED) or 0.0


def forget(app: Flask, *statements: str) -> None:
    with as_administrator(app) as attacker:
        for statement in statements:
            attacker.execute(sa.text(statement))


def wait_for_heads(count: int) -> None:
    heads = shared_heads()
    assert heads is not None
    wait_until(lambda: len(heads.names(log_name())) == count)


@pytest.mark.race
def test_simultaneous_sealing_leaves_every_checkpoint(
    build_app: BuildApp, object_store: ObjectStore, backend: Backend, make: Make
) -> None:
    bucket = object_store.new_bucket()
    apps = [on_bucket(build_app, object_store, bucket) for _ in range(2)]

    def seal_often(app: Flask) -> None:
        with app.app_context():
            for _ in range(8):
                db.session.add(Datacenter(name=f"{id(app)} {_}"))
                db.session.commit()
                seal()

    run_concurrently([lambda app=app: seal_often(app) for app in apps])
    with apps[0].app_context():
        seal()
        report = verify()
        assert (report.status, report.unsealed) == (Status.INTACT, 0)


def test_a_log_that_was_rolled_back_is_noticed(shared: Flask, make: Make) -> None:
    make(Datacenter)
    with shared.app_context():
        seal()
        forget(shared, "DELETE FROM audit_checkpoints", "DELETE FROM audit_leaves")
        with pytest.raises(CannotSeal, match="rolled back"):
            seal()
        assert verify().status is Status.TAMPERED


def test_events_that_were_deleted_before_they_are_sealed_are_noticed(shared: Flask) -> None:
    with shared.app_context():
        recorder.record("denied", "users", 1, "somebody")
        db.session.commit()
        wait_for_heads(1)
    forget(shared, "DELETE FROM audit_logs", "DELETE FROM audit_event_chains")
    with shared.app_context():
        assert verify().status is Status.TAMPERED


def test_missing_objects_are_noticed(shared: Flask, make: Make) -> None:
    with shared.app_context():
        for _ in range(3):
            make(Datacenter)
            seal()
        storage = audit_storage()
        assert storage is not None
        second = [name for name in storage.names() if "events" not in name][1]
        storage.delete([second])
        assert verify().status is Status.TAMPERED


def test_without_its_store_sealing_waits_and_goes_on(
    shared: Flask, build_app: BuildApp, make: Make, object_store: ObjectStore
) -> None:
    settings = object_store.settings("bucket") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    away = build_app(**settings, AUDIT_CHECKPOINTS="s3://bucket/checkpoints")
    make(Datacenter)
    with away.app_context():
        assert is_late()
        with pytest.raises(OSError, match=r"no connection|has just failed"):
            seal()
        # An event is committed, though it cannot be noted.
        recorder.record("denied", "users", 1, "somebody")
        db.session.commit()
    with shared.app_context():
        seal()
        assert verify().status is Status.INTACT


def test_old_notes_of_events_are_deleted(shared: Flask) -> None:
    with shared.app_context():
        recorder.record("denied", "users", 1, "somebody")
        db.session.commit()
        wait_for_heads(1)
        storage, name = audit_storage(), log_name().replace("/", "-")
        assert storage is not None
        storage.write(f"{name}.events-20200131-host-1-abc.json", b'{"1": [1, "mac"]}')
        seal()
        old_heads.delete_old()
        assert not any("20200131" in stored for stored in storage.names())
        wait_for_heads(1)


def test_sealing_goes_on_after_the_checkpoints_were_set_aside(shared: Flask, make: Make) -> None:
    make(Datacenter)
    with shared.app_context():
        seal()
        forget(shared, "DELETE FROM audit_checkpoints", "DELETE FROM audit_leaves")
        result = shared.test_cli_runner().invoke(args=["audit", "resume"])
        assert result.exit_code == 0, result.output
        assert re.search(r"s3://itam-\w+/checkpoints/set-aside-\w+\.\*: keep them", result.output)
        storage = audit_storage()
        assert storage is not None
        assert [name for name in storage.names() if name.startswith("set-aside-")]
        last = checkpoint_log().last()
        assert last is not None
        assert last.size == db.session.scalar(sa.text("SELECT count(*) FROM audit_logs"))
        assert verify().status is Status.INTACT
