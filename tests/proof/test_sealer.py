"""Sealing: every record gets one leaf, in whatever order transactions commit, and a forged tree is not continued."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit.mac import keyring
from app.core.audit.models import STORED, AuditLog
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.proof import records, sealer
from app.proof.checkpoints import open_note, verifier_key
from app.proof.merkle import Frontier, leaf_hash
from app.proof.models import checkpoints, leaves
from app.proof.outside.checkpoint_file import CheckpointFile
from app.proof.sealer import CannotSeal, checkpoint_log, seal
from tests.backends import on_postgresql, on_servers, on_sqlite
from tests.client import Client
from tests.factories import Make
from tests.proof.administrator import as_administrator
from tests.threads import run_concurrently


def seal_now(app: Flask) -> int:
    with app.app_context():
        return seal()


def tree(app: Flask) -> list[tuple[int, int]]:
    """Positions and record ids."""
    with app.app_context():
        rows = db.session.execute(sa.select(leaves.c.position, leaves.c.record_id).order_by(leaves.c.position))
        return [(position, record_id) for position, record_id in rows]


def record_ids(app: Flask) -> list[int]:
    with app.app_context():
        return list(db.session.scalars(sa.select(AuditLog.id).order_by(AuditLog.id)))


def path_of(app: Flask) -> Path:
    with app.app_context():
        return checkpoint_log().path


def test_every_record_has_its_leaf(app: Flask, make: Make) -> None:
    for _ in range(5):
        make(Datacenter)
    assert seal_now(app) == 5
    assert seal_now(app) == 0
    make(Datacenter)
    assert seal_now(app) == 1
    assert tree(app) == list(enumerate(record_ids(app)))


def test_a_leaf_is_the_hash_of_its_record(app: Flask, make: Make, admin: Client) -> None:
    """Computed from the description alone: all columns, as one JSON object of RFC 8785."""
    admin.call("DELETE", f"/api/datacenters/{make(Datacenter, name='机房').id}", headers={"X-Audit-Reason": "why"})
    seal_now(app)
    frontier = Frontier()
    with app.app_context():
        for record in db.session.execute(sa.select(STORED).order_by(STORED.c.id)).mappings():
            content = dict(record) | {"created_at": record["created_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
            text = ",".join(f"{dumps(name)}:{dumps(content[name])}" for name in sorted(content))
            frontier.append(leaf_hash(f"{{{text}}}".encode()))
        note = db.session.scalars(sa.select(checkpoints.c.note)).one()
        checkpoint, _ = open_note(note, [verifier_key(keyring()[0], note.partition("\n")[0])])
    assert (checkpoint.size, checkpoint.root) == (frontier.size, frontier.root)


def dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


@on_servers
def test_ids_that_are_committed_late_are_not_missed(app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow transaction takes an id; a fast one takes the next id, commits, and is sealed first."""
    monkeypatch.setattr(records, "SETTLE_SECONDS", 0.0)
    make(Datacenter)
    with app.app_context():
        slow = db.engine.connect()
    slow.execute(
        sa.text(
            "INSERT INTO audit_logs (created_at, action, resource_type, changes, request_id, mac) "
            "VALUES (now(), 'login', 'users', '{}', 'slow-one', 'x')"
        )
    )
    make(Datacenter)
    for _ in range(5):
        # Often enough for the sealer to stop looking where it thinks that nothing can come any more.
        seal_now(app)
    assert [record_id for _, record_id in tree(app)] == record_ids(app)
    slow.commit()
    slow.close()
    assert seal_now(app) == 1
    for _ in range(5):
        make(Datacenter)
        assert seal_now(app) == 1
    assert sorted(record_id for _, record_id in tree(app)) == record_ids(app)


@on_sqlite
def test_the_horizon_moves_past_sealed_records(app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL the moment depends on the other transactions of the cluster."""
    monkeypatch.setattr(records, "SETTLE_SECONDS", 0.0)
    for _ in range(4):
        make(Datacenter)
        assert seal_now(app) == 1
    assert app.extensions["audit_horizon"].first_id > 1


@pytest.mark.race
def test_two_sealers_at_once(app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "BATCH_RECORDS", 3)
    for _ in range(20):
        make(Datacenter)
    run_concurrently([lambda: seal_now(app)] * 4)
    seal_now(app)
    assert tree(app) == list(enumerate(record_ids(app)))
    sizes = [line.size for line in CheckpointFile(path_of(app)).measure().entries()]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 20


def test_a_sealer_that_dies_is_continued(app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Datacenter)
    with monkeypatch.context() as patch:
        patch.setattr(sealer, "_sign", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal_now(app)
    assert tree(app) == []
    with monkeypatch.context() as patch:
        # After the commit, before the file.
        patch.setattr(CheckpointFile, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal_now(app)
    assert tree(app) == list(enumerate(record_ids(app)))
    assert CheckpointFile(path_of(app)).last() is None
    assert seal_now(app) == 0
    last = CheckpointFile(path_of(app)).last()
    assert last is not None
    assert last.size == 1


def test_an_incomplete_line_of_the_file_is_rewritten(app: Flask, make: Make) -> None:
    make(Datacenter)
    seal_now(app)
    whole = path_of(app).read_bytes()
    make(Datacenter)
    path_of(app).write_bytes(whole + b'{"note": "half of')
    seal_now(app)
    lines = path_of(app).read_bytes().splitlines(keepends=True)
    assert lines[0] == whole
    assert [orjson.loads(line)["size"] for line in lines] == [1, 2]


def test_a_rolled_back_log_is_not_sealed(app: Flask, make: Make) -> None:
    for _ in range(2):
        make(Datacenter)
        seal_now(app)
    with as_administrator(app) as connection:
        connection.execute(sa.text("DELETE FROM audit_checkpoints WHERE size = 2"))
        connection.execute(sa.text("DELETE FROM audit_leaves WHERE position = 1"))
    with pytest.raises(CannotSeal, match="rolled back"):
        seal_now(app)
    with as_administrator(app) as connection:
        connection.execute(sa.text("DELETE FROM audit_checkpoints"))
    with pytest.raises(CannotSeal, match="rolled back"):
        seal_now(app)


def test_a_log_that_was_started_anew_is_not_sealed(
    app: Flask, make: Make, anonymous: Client, origin_kept: None, tmp_path: Path
) -> None:
    make(Datacenter)
    seal_now(app)
    first = path_of(app)
    with as_administrator(app) as connection:
        for table in ("audit_leaves", "audit_checkpoints"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        connection.execute(sa.text("UPDATE audit_origin SET name = 'itam-audit-log/another'"))
    with pytest.raises(CannotSeal, match=f"move {first.name} out of"):
        seal_now(app)
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "late"
    first.rename(tmp_path / first.name)
    assert seal_now(app) == 1
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "ok"


@pytest.mark.parametrize("column", ["frontier", "note"])
def test_a_forged_tree_is_not_continued(app: Flask, make: Make, column: str) -> None:
    make(Datacenter)
    seal_now(app)
    make(Datacenter)
    forged = bytes(32) if column == "frontier" else "a forgery"
    with as_administrator(app) as connection:
        connection.execute(sa.text(f"UPDATE audit_checkpoints SET {column} = :forged"), {"forged": forged})
    with pytest.raises(CannotSeal):
        seal_now(app)


def test_a_new_key_continues_the_tree(app: Flask, make: Make, build_app: Any) -> None:
    make(Datacenter)
    seal_now(app)
    forgetful = build_app(AUDIT_KEY="another key of the audit log, 32 bytes")
    make(Datacenter)
    with pytest.raises(CannotSeal, match="known keys"):
        seal_now(forgetful)
    later = build_app(AUDIT_KEY="another key of the audit log, 32 bytes", AUDIT_KEYS_BEFORE=(app.config["SECRET_KEY"],))
    assert seal_now(later) == 1


def test_readiness_reports_late_sealing(
    app: Flask, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Datacenter)
    ready = anonymous.call("GET", "/api/health/ready")["data"]
    assert (ready["status"], ready["audit"]) == ("ok", "ok")
    pass_time(monkeypatch, 11)
    ready = anonymous.call("GET", "/api/health/ready")["data"]
    assert (ready["status"], ready["audit"]) == ("degraded", "late")
    seal_now(app)
    assert anonymous.call("GET", "/api/health/ready")["data"]["status"] == "ok"


def test_readiness_is_ok_while_a_long_backlog_is_being_sealed(
    app: Flask, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint file shows the progress, and nobody who owns only the database can write it."""
    monkeypatch.setattr(sealer, "BATCH_RECORDS", 1)
    for _ in range(2):
        make(Datacenter)
    with as_administrator(app) as connection:
        connection.execute(sa.text("UPDATE audit_logs SET created_at = '2020-01-01 00:00:00'"))
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "late"
    with app.app_context():
        sealer._seal_batch(0, record_ids(app)[-1])
        sealer.write_checkpoint_file()
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "ok"
    pass_time(monkeypatch, 60)
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "late"


@pytest.mark.parametrize("time", ["2020-01-01 00:00:00", "2099-01-01 00:00:00"])
def test_a_checkpoint_that_is_not_in_the_file_is_late_at_a_forged_time(
    app: Flask, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch, time: str
) -> None:
    # Far from both times, however busy the machine is.
    monkeypatch.setattr(sealer, "LATE_AFTER", timedelta(hours=1))
    make(Datacenter)
    with app.app_context():
        sealer._seal_batch(0, record_ids(app)[-1])
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "ok"
    with as_administrator(app) as connection:
        connection.execute(sa.text(f"UPDATE audit_checkpoints SET sealed_at = '{time}'"))
    assert anonymous.call("GET", "/api/health/ready")["data"]["audit"] == "late"


@on_postgresql
def test_an_advisory_lock_does_not_hold_sealing_off(app: Flask, make: Make) -> None:
    """Anybody who can connect may take any advisory lock, and pg_locks shows the number of ours."""
    make(Datacenter)
    with app.app_context(), db.engine.connect() as attacker:
        attacker.execute(sa.text("SELECT pg_advisory_lock(1769234797)"))
        try:
            assert seal_now(app) == 1
        finally:
            attacker.execute(sa.text("SELECT pg_advisory_unlock_all()"))


@on_servers
def test_sealing_that_the_owner_of_the_database_holds_off_is_late(
    app: Flask, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Datacenter)
    with app.app_context():
        owner = db.engine.connect()
    with owner:
        owner.execute(sa.text("SELECT name FROM audit_origin FOR UPDATE"))
        assert seal_now(app) == 0
        pass_time(monkeypatch, 11)
        ready = anonymous.call("GET", "/api/health/ready")["data"]
        assert (ready["status"], ready["audit"]) == ("degraded", "late")
    assert seal_now(app) == 1


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = utcnow() + timedelta(seconds=seconds)
    monkeypatch.setattr(sealer, "utcnow", lambda: later)


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_the_tree_is_append_only(app: Flask, make: Make, statement: str) -> None:
    make(Datacenter)
    seal_now(app)
    with app.app_context():
        for table, column in (("audit_leaves", "hash"), ("audit_checkpoints", "note")):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                db.session.execute(sa.text(statement.format(table, column, column)))
            db.session.rollback()


def test_the_command_seals(app: Flask, make: Make) -> None:
    make(Datacenter)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["audit", "seal"]).output == "Sealed 1 records; 1 in all.\n"
    shown = runner.invoke(args=["audit", "keys"]).output.splitlines()
    note = orjson.loads(path_of(app).read_bytes())["note"]
    assert len(shown) == 1
    assert shown[0].startswith(note.partition("\n")[0] + "+")
