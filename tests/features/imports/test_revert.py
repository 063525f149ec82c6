"""Revert and cancel an import: everything is as before, or the conflicts are listed and nothing happens."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.catalog import IMPORTABLE
from app.core.cache import generations
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.jobs.queue import Job
from app.core.jobs.runner import runner_of
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.imports import models, service
from app.resource.bulk import writer
from app.servers.models import Server
from tests.backends import on_servers
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.features.conftest import Upload, apply
from tests.features.imports.test_import import APPLY, FLEET, audit, find, totals
from tests.threads import TIMEOUT_SECONDS, run_concurrently, wait_until

LIVE = tuple(resource.model.__table__ for resource in IMPORTABLE.values())
NEW_AGAIN = frozenset({"version", "updated_at"})
"""Columns that a restored object does not get back: a version never means two things."""


def live_rows(app: Flask, *, without: frozenset[str] = frozenset()) -> dict[str, list[Any]]:
    with app.app_context():
        return {
            table.name: db.session.execute(
                sa.select(*(column for column in table.columns if column.key not in without)).order_by(table.c.id)
            ).all()
            for table in LIVE
        }


def revert(client: Client, import_: Body, *, expect: int = 200, query: str = "") -> Body:
    """The number of objects that a revert has deleted and restored, or its refusal."""
    answer: Body = client.call("POST", f"/api/imports/{import_['id']}/revert{query}", expect=expect)["data"]
    return answer["reversal"] if expect == 200 else answer  # type: ignore[no-any-return]


def revert_in_background(client: Client, import_: Body) -> Body:
    """The import after its queued revert has run."""
    path = f"/api/imports/{import_['id']}"
    started = client.send("POST", f"{path}/revert", expect=202)
    assert (started.headers["Location"], started.headers["Retry-After"]) == (path, "1")
    assert started.json["data"]["status"] == "reverting"
    assert started.json["data"]["progress"]["phase"] == "reverting"
    assert client.call("POST", f"{path}/revert", expect=409)["data"]["reason"] == "not_revertible"
    assert client.call("POST", f"{path}/cancel", expect=409)["data"]["reason"] == "not_cancellable"
    runner_of(client.app).run_pending()
    return client.call("GET", path)["data"]  # type: ignore[no-any-return]


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_REVERTED_ROWS", 0)


@pytest.fixture
def applied(admin: Client, upload: Upload) -> Body:
    import_ = upload(admin, form=APPLY, **FLEET)
    assert import_["status"] == "applied"
    return import_


def test_a_revert_deletes_what_the_import_created_and_nothing_else(
    app: Flask, admin: Client, upload: Upload, make: Make
) -> None:
    make(Server, name="n0", datacenter_id=make(Datacenter, name="SH-1").id)
    before = live_rows(app)
    import_ = upload(admin, form=APPLY, **FLEET)
    assert revert(admin, import_) == {
        "removed": {"services": 2, "gpus": 2, "containers": 2, "servers": 2, "datacenters": 1},
        "restored": {},
    }
    assert live_rows(app) == before
    assert admin.call("GET", f"/api/imports/{import_['id']}")["data"]["status"] == "reverted"


def test_a_revert_restores_what_the_import_changed(app: Flask, admin: Client, applied: Body, upload: Upload) -> None:
    before = live_rows(app, without=NEW_AGAIN)
    second = upload(
        admin,
        form={**APPLY, "match": "name"},
        Datacenters=[("Name",), ("SH-9",)],
        Servers=[("Name", "Datacenter", "Memory (GB)", "QoS"), ("N1", "SH-9", 1, "LS"), ("n2", None, "<clear>", None)],
    )
    assert find(admin, "servers", name="n1")["datacenter"]["name"] == "SH-9"
    reversal = revert(admin, second)
    assert (reversal["removed"], reversal["restored"]) == ({"datacenters": 1}, {"servers": 2})
    assert live_rows(app, without=NEW_AGAIN) == before
    server = find(admin, "servers", name="n1")
    assert (server["version"], server["memory_gb"], server["datacenter"]["name"]) == (3, 256, "openb")
    # What is as the first import made it goes with the first import.
    assert revert(admin, applied)["removed"]["servers"] == 2


def test_a_revert_has_audit_records(admin: Client, applied: Body, upload: Upload) -> None:
    second = upload(admin, form=APPLY, Servers=[("Name", "Memory (GB)"), ("n1", 1), ("n3", 2)])
    ids = {record["id"] for record in audit(admin)}
    revert(admin, second)
    records = [record for record in audit(admin) if record["id"] not in ids]
    assert [(record["action"], record["resource_name"]) for record in records] == [
        ("revert", "n1"),
        ("delete", "n3"),
        ("revert", "fleet.xlsx"),
    ]
    restored, deleted, summary = records
    assert restored["changes"]["memory_gb"] == {"old": 1, "new": 256}
    assert deleted["snapshot"]["memory_gb"] == 2
    assert summary["changes"] == {"removed": {"old": None, "new": 1}, "restored": {"old": None, "new": 1}}
    assert len({record["request_id"] for record in records}) == 1


def test_objects_changed_since_are_listed_and_nothing_is_reverted(app: Flask, admin: Client, applied: Body) -> None:
    server, other = find(admin, "servers", name="n1"), find(admin, "servers", name="n2")
    admin.call("PATCH", f"/api/servers/{server['id']}", json={"memory_gb": 1})
    admin.call("POST", "/api/containers", expect=201, json={"name": "mine", "server_id": other["id"]})
    before = live_rows(app)
    refusal = revert(admin, applied, expect=409)
    assert refusal["reason"] == "out_of_date"
    named = {(item["sheet"], item["row"]): item["message"] for item in refusal["conflicts"]}
    assert named["Servers", 2] == "The server has been changed or used since the import."
    assert named["Servers", 3] == "Other objects refer to it: containers (1)."
    assert named["Datacenters", 2] == "Other objects refer to it: servers (2)."
    assert live_rows(app) == before
    assert admin.call("GET", f"/api/imports/{applied['id']}")["data"]["status"] == "applied"


def test_a_field_changed_since_the_import_is_not_overwritten(admin: Client, applied: Body, upload: Upload) -> None:
    second = upload(admin, form=APPLY, Servers=[("Name", "Memory (GB)", "Owner"), ("n1", 1, "ada"), ("n2", 2, "bob")])
    for name, change in (("n1", {"memory_gb": 3}), ("n2", {"description": "mine"})):
        admin.call("PATCH", f"/api/servers/{find(admin, 'servers', name=name)['id']}", json=change)
    (conflict,) = revert(admin, second, expect=409)["conflicts"]
    assert (conflict["row"], conflict["message"]) == (2, "Changed since the import: Memory.")
    admin.call("PATCH", f"/api/servers/{find(admin, 'servers', name='n1')['id']}", json={"memory_gb": 1})
    revert(admin, second)
    assert find(admin, "servers", name="n1")["memory_gb"] == 256
    server = find(admin, "servers", name="n2")
    assert (server["memory_gb"], server["description"]) == (512, "mine"), "What the import left alone stays."


def test_a_gpu_that_was_assigned_since_is_not_deleted(admin: Client, applied: Body) -> None:
    gpu = find(admin, "gpus", slot=0)
    admin.call("POST", f"/api/gpus/{gpu['id']}/assign", json={"user_id": admin.user.id})
    admin.call("POST", f"/api/gpus/{gpu['id']}/release")
    conflicts = revert(admin, applied, expect=409)["conflicts"]
    assert ("GPUs", 2) in {(item["sheet"], item["row"]) for item in conflicts}


def test_objects_deleted_since_do_not_prevent_a_revert(admin: Client, applied: Body) -> None:
    admin.call("DELETE", f"/api/servers/{find(admin, 'servers', name='n2')['id']}")
    assert revert(admin, applied)["removed"]["servers"] == 1
    assert totals(admin) == {"datacenters": 0, "servers": 0, "gpus": 0, "containers": 0, "services": 0}


def test_a_dry_run_counts_the_objects_and_changes_nothing(app: Flask, admin: Client, applied: Body) -> None:
    before = live_rows(app)
    assert revert(admin, applied, query="?dry_run=true")["removed"]["servers"] == 2
    assert live_rows(app) == before
    assert admin.call("GET", f"/api/imports/{applied['id']}")["data"]["status"] == "applied"
    revert(admin, applied)
    assert revert(admin, applied, expect=409)["reason"] == "not_revertible"


def test_a_revert_needs_the_right_to_change_the_objects(admin: Client, upload: Upload, sign_in: SignIn) -> None:
    """An administrator's import, reverted after the role was taken away."""
    mine = sign_in(role=Role.ADMIN)
    import_ = upload(mine, form=APPLY, Datacenters=[("Name",), ("SH-1",)])
    admin.call("PATCH", f"/api/users/{mine.user.id}", json={"role": "user"})
    assert revert(mine, import_, expect=(403, 401)) is not None
    assert totals(admin)["datacenters"] == 1


@pytest.mark.usefixtures("all_are_large")
def test_a_large_import_is_reverted_by_a_job(app: Flask, admin: Client, upload: Upload, sign_in: SignIn) -> None:
    """As the user who asked for it, with the request id of that request."""
    before = live_rows(app)
    import_ = upload(admin, form=APPLY, **FLEET)
    second = sign_in(role=Role.ADMIN)
    ids = {record["id"] for record in audit(admin)}
    done = revert_in_background(second, import_)
    assert (done["status"], done["problem"]) == ("reverted", None)
    assert done["reversal"]["removed"] == {"services": 2, "gpus": 2, "containers": 2, "servers": 2, "datacenters": 1}
    assert (done["progress"]["phase"], done["progress"]["done"]) == ("done", 9)
    assert live_rows(app) == before
    records = [record for record in audit(admin) if record["id"] not in ids]
    assert {record["username"] for record in records} == {second.user.username}
    assert len({record["request_id"] for record in records}) == 1
    assert [record["action"] for record in records] == ["delete"] * 9 + ["revert"]


@pytest.mark.usefixtures("all_are_large")
def test_conflicts_of_a_queued_revert_are_listed_in_the_import(app: Flask, admin: Client, applied: Body) -> None:
    server = find(admin, "servers", name="n1")
    admin.call("PATCH", f"/api/servers/{server['id']}", json={"memory_gb": 1})
    before = live_rows(app)
    refused = revert_in_background(admin, applied)
    assert (refused["status"], refused["reversal"]) == ("applied", None)
    assert refused["problem"]["reason"] == "out_of_date"
    named = {(item["sheet"], item["row"]): item["message"] for item in refused["problem"]["conflicts"]}
    assert named["Servers", 2] == "The server has been changed or used since the import."
    assert live_rows(app) == before
    admin.call("PATCH", f"/api/servers/{server['id']}", json={"memory_gb": 256})
    done = revert_in_background(admin, applied)
    assert (done["status"], done["problem"]) == ("reverted", None)


@pytest.mark.usefixtures("all_are_large")
def test_a_unique_value_taken_since_prevents_a_revert(app: Flask, admin: Client, upload: Upload) -> None:
    """The database refuses it, and the field is named as in any other answer."""
    upload(admin, form=APPLY, Servers=[("Name", "Asset Tag"), ("n1", "A-1")])
    second = upload(admin, form={**APPLY, "match": "name"}, Servers=[("Name", "Asset Tag"), ("n1", "A-2")])
    admin.call("POST", "/api/servers", expect=201, json={"name": "n2", "asset_tag": "A-1"})
    before = live_rows(app)
    refused = revert_in_background(admin, second)
    assert (refused["status"], list(refused["problem"]["errors"])) == ("applied", ["asset_tag"])
    assert live_rows(app) == before


@pytest.mark.usefixtures("all_are_large")
def test_a_revert_whose_workers_die_keeps_the_import_applied(app: Flask, admin: Client, applied: Body) -> None:
    admin.call("POST", f"/api/imports/{applied['id']}/revert", expect=202)
    before = live_rows(app)
    with app.app_context():
        gone: Any = {"state": "running", "attempts": 3, "lease_expires_at": utcnow() - timedelta(seconds=1)}
        db.session.execute(sa.update(Job).where(Job.kind == "import.revert").values(gone))
        db.session.commit()
    runner_of(app).run_pending()
    import_ = admin.call("GET", f"/api/imports/{applied['id']}")["data"]
    assert (import_["status"], import_["problem"]["reason"]) == ("applied", "failed")
    assert live_rows(app) == before
    assert revert_in_background(admin, applied)["status"] == "reverted"


def test_a_cancelled_plan_cannot_be_applied(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, **FLEET)
    cancelled = admin.call("POST", f"/api/imports/{import_['id']}/cancel")["data"]
    assert cancelled["status"] == "cancelled"
    assert admin.call("POST", f"/api/imports/{import_['id']}/cancel")["data"]["status"] == "cancelled"
    refused = admin.call("POST", f"/api/imports/{import_['id']}/apply", expect=409, json={})["data"]
    assert refused["reason"] == "not_applicable"


def test_an_import_cancelled_in_the_queue_is_never_read(admin: Client, upload: Upload, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner_of(admin.app), "run_pending", lambda: 0)
    import_ = upload(admin, form=APPLY, **FLEET)
    assert import_["status"] == "queued"
    admin.call("POST", f"/api/imports/{import_['id']}/cancel")
    monkeypatch.undo()
    runner_of(admin.app).run_pending()
    assert admin.call("GET", f"/api/imports/{import_['id']}")["data"]["status"] == "cancelled"
    assert totals(admin)["servers"] == 0


def test_the_dry_run_of_a_cancel_stops_nothing(admin: Client, upload: Upload, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner_of(admin.app), "run_pending", lambda: 0)
    path = f"/api/imports/{upload(admin, form=APPLY, **FLEET)['id']}"
    assert admin.call("POST", f"{path}/cancel?dry_run=true")["data"]["status"] == "cancelled"
    monkeypatch.undo()
    runner_of(admin.app).run_pending()
    assert admin.call("GET", path)["data"]["status"] == "applied"


@pytest.mark.race
@on_servers
def test_an_import_cancelled_while_it_is_applied_is_rolled_back(
    app: Flask, admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled between two writes of the job; on SQLite, with one writer, before or after them."""
    before = live_rows(app)
    plan = upload(admin, **FLEET)
    write = writer.write_creations

    def write_and_cancel(creations: writer.Creations) -> None:
        write(creations)
        if creations.objects.table.name == "servers":
            run_concurrently([lambda: admin.call("POST", f"/api/imports/{plan['id']}/cancel")])

    monkeypatch.setattr(writer, "write_creations", write_and_cancel)
    assert apply(admin, plan)["status"] == "cancelled"
    assert live_rows(app) == before
    assert [record["action"] for record in audit(admin, request_id=plan["request_id"])] == []


def test_a_cancel_stops_a_job_that_holds_the_write_lock(
    app: Flask, admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite, the request waits until the job has rolled back."""
    before = live_rows(app)
    plan = upload(admin, **FLEET)
    write = writer.write_creations
    with ThreadPoolExecutor(1) as threads:
        asked = []

        def write_while_asked(creations: writer.Creations) -> None:
            write(creations)
            if creations.objects.table.name == "servers":
                asked.append(threads.submit(admin.call, "POST", f"/api/imports/{plan['id']}/cancel"))
                wait_until(lambda: generations.recall(models._STOP.format(plan["id"])) is not None)

        monkeypatch.setattr(writer, "write_creations", write_while_asked)
        monkeypatch.setattr(models, "UPDATE_SECONDS", 0.0)
        assert apply(admin, plan)["status"] == "cancelled"
        assert asked[0].result(TIMEOUT_SECONDS)["data"]["status"] == "cancelled"
    assert live_rows(app) == before


def test_an_applied_import_cannot_be_cancelled(admin: Client, applied: Body) -> None:
    refused = admin.call("POST", f"/api/imports/{applied['id']}/cancel", expect=409)["data"]
    assert refused["reason"] == "not_cancellable"
    assert totals(admin)["servers"] == 2


ATTRIBUTES = [("Name", "attributes.hdd", "attributes.old", "attributes.new"), ("n1", 6, "<clear>", "yes")]


def test_a_revert_leaves_the_attributes_of_others(make: Make, admin: Client, upload: Upload) -> None:
    server = make(Server, name="n1", attributes={"hdd": 4, "qos": "LS", "old": 1})
    import_ = upload(admin, form=APPLY, Servers=ATTRIBUTES)
    path = f"/api/servers/{server.id}"
    admin.call("PATCH", path, json={"attributes": {"qos": "BE", "theirs": "x"}})
    assert revert(admin, import_)["restored"] == {"servers": 1}
    stored = admin.call("GET", path)["data"]["attributes"]
    assert stored == {"hdd": 4, "qos": "BE", "old": 1, "theirs": "x"}


def test_a_revert_may_not_bring_back_too_many_attributes(make: Make, admin: Client, upload: Upload) -> None:
    server = make(Server, name="n1", attributes={f"k{number}": number for number in range(64)})
    import_ = upload(admin, form=APPLY, Servers=[("Name", "attributes.k0"), ("n1", "<clear>")])
    path = f"/api/servers/{server.id}"
    before = admin.call("PATCH", path, json={"attributes": {"theirs": "x"}})["data"]
    (conflict,) = revert(admin, import_, expect=409)["conflicts"]
    assert conflict["message"] == "At most 64 attributes; with these there are 65."
    assert admin.call("GET", path)["data"] == before
    admin.call("PATCH", path, json={"attributes": {"theirs": None}})
    assert revert(admin, import_)["restored"] == {"servers": 1}


def test_attributes_that_others_changed_are_named_and_those_already_put_back_are_no_conflict(
    make: Make, admin: Client, upload: Upload
) -> None:
    server = make(Server, name="n1", attributes={"hdd": 4, "qos": "LS", "old": 1})
    import_ = upload(admin, form=APPLY, Servers=ATTRIBUTES)
    path = f"/api/servers/{server.id}"
    admin.call("PATCH", path, json={"attributes": {"hdd": 8, "new": None, "qos": "BE"}})
    (conflict,) = revert(admin, import_, expect=409)["conflicts"]
    assert conflict["message"] == "Changed since the import: hdd, new."
    admin.call("PATCH", path, json={"attributes": {"hdd": 4, "old": 1}})
    assert revert(admin, import_)["restored"] == {"servers": 0}
    assert admin.call("GET", path)["data"]["attributes"] == {"hdd": 4, "qos": "BE", "old": 1}
