"""Assigning and releasing GPUs: permissions, conflicts, races, and the history of assignments."""

from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server, ServerStatus
from app.users.models import User
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.threads import run_concurrently

TOMORROW = (utcnow() + timedelta(days=1)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def gpu(make: Make) -> Gpu:
    return make(Gpu, model="H100")


def assign(client: Client, gpu: Gpu, user: User, expect: int | tuple[int, ...] = 200, **more: object) -> Body:
    body = {"user_id": user.id, **more}
    return client.call("POST", f"/api/gpus/{gpu.id}/assign", json=body, expect=expect)


def release(client: Client, gpu: Gpu, expect: int | tuple[int, ...] = 200) -> Body:
    return client.call("POST", f"/api/gpus/{gpu.id}/release", expect=expect)


def history(client: Client, gpu: Gpu, **query: int) -> Body:
    return client.call("GET", f"/api/gpus/{gpu.id}/assignments", query_string=query)


def records(admin: Client, gpu: Gpu) -> list[Body]:
    query = {"resource_type": "gpus", "resource_id": gpu.id, "sort": "id"}
    records: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return records


def test_gpu_is_assigned(gpu: Gpu, admin: Client, user: Client) -> None:
    before = utcnow()
    data = assign(admin, gpu, user.user, purpose="training", expires_at=TOMORROW)["data"]
    assert (data["status"], data["version"]) == ("assigned", 2)
    assert data["assigned_to"] == {"id": user.user.id, "name": user.user.username}
    assert data["assigned_at"] >= before.isoformat()[:19]
    assert (data["purpose"], data["expires_at"]) == ("training", TOMORROW)
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"] == data
    (entry,) = history(user, gpu)["data"]
    assert entry == {
        "id": entry["id"],
        "gpu_id": gpu.id,
        "user": {"id": user.user.id, "name": user.user.username},
        "username": user.user.username,
        "assigned_by": admin.user.username,
        "purpose": "training",
        "assigned_at": data["assigned_at"],
        "expires_at": TOMORROW,
        "released_at": None,
        "released_by": None,
    }


def test_gpu_is_released(gpu: Gpu, admin: Client, user: Client) -> None:
    assign(admin, gpu, user.user)
    data = release(user, gpu)["data"]
    assert (data["status"], data["assigned_to"], data["assigned_at"]) == ("available", None, None)
    assert (data["purpose"], data["expires_at"]) == (None, None)
    (entry,) = history(user, gpu)["data"]
    assert (entry["released_by"], entry["expires_at"], entry["purpose"]) == (user.user.username, None, None)
    assert entry["released_at"] is not None
    assert release(admin, gpu, expect=409)["data"]["reason"] == "gpu_not_assigned"


def test_assign_and_release_are_audited_with_their_own_action(gpu: Gpu, admin: Client, user: Client) -> None:
    assign(admin, gpu, user.user, purpose="training", expires_at=TOMORROW)
    release(user, gpu)
    entries = records(admin, gpu)
    assert [(record["action"], record["version"]) for record in entries] == [
        ("create", 1),
        ("assign", 2),
        ("release", 3),
    ]
    assert [record["username"] for record in entries[1:]] == [admin.user.username, user.user.username]
    changes = entries[1]["changes"]
    assert changes["status"] == {"old": "available", "new": "assigned"}
    assert changes["assigned_to_id"] == {"old": None, "new": user.user.id}
    assert (changes["purpose"]["new"], changes["expires_at"]["new"]) == ("training", TOMORROW)
    assert {name: (change["new"], change["old"]) for name, change in changes.items()} == {
        name: (change["old"], change["new"]) for name, change in entries[2]["changes"].items()
    }


def test_conflict_names_the_holder(gpu: Gpu, admin: Client, user: Client, other: Client) -> None:
    assign(admin, gpu, user.user)
    for client, target in ((admin, other.user), (other, other.user), (user, user.user), (admin, user.user)):
        answer = assign(client, gpu, target, expect=409)
        assert answer["data"]["reason"] == "gpu_not_available"
        assert answer["data"]["holder"] == {"id": user.user.id, "name": user.user.username}
        assert user.user.username in answer["message"]
    assert history(admin, gpu)["pagination"]["total"] == 1


def test_users_assign_only_to_themselves(gpu: Gpu, user: Client, other: Client) -> None:
    assert assign(user, gpu, other.user, expect=403)["data"]["reason"] == "not_yourself"
    assert assign(user, gpu, user.user)["data"]["assigned_to"]["id"] == user.user.id


def test_users_release_only_what_they_hold(gpu: Gpu, admin: Client, user: Client, other: Client) -> None:
    assign(user, gpu, user.user)
    assert release(other, gpu, expect=403)["data"]["reason"] == "not_holder"
    assert release(admin, gpu)["data"]["status"] == "available"


def test_owner_of_the_object_is_not_its_holder(make: Make, user: Client, other: Client) -> None:
    gpu = make(Gpu, created_by_id=user.user.id)
    assign(other, gpu, other.user)
    release(user, gpu, expect=403)


@pytest.mark.parametrize("status", [GpuStatus.MAINTENANCE, GpuStatus.RETIRED])
def test_only_available_gpus_are_assigned(make: Make, admin: Client, status: GpuStatus) -> None:
    gpu = make(Gpu, status=status)
    answer = assign(admin, gpu, admin.user, expect=409)
    assert answer["data"]["reason"] == "gpu_not_available"
    assert status.value in answer["message"]
    release(admin, gpu, expect=409)


@pytest.mark.parametrize("status", [ServerStatus.MAINTENANCE, ServerStatus.OFFLINE, ServerStatus.RETIRED])
def test_gpus_of_servers_that_are_not_active_are_not_assigned(
    make: Make, admin: Client, user: Client, status: ServerStatus
) -> None:
    server = make(Server, name="n1", status=status)
    gpu = make(Gpu, server_id=server.id)
    for client in (admin, user):
        answer = assign(client, gpu, client.user, expect=409)
        shown = {"id": server.id, "name": "n1"}
        assert (answer["data"]["reason"], answer["data"]["server"]) == ("gpu_not_available", shown)
        assert status.value in answer["message"]
    admin.call("PATCH", f"/api/servers/{server.id}", json={"status": "active"})
    assign(user, gpu, user.user)
    # Who holds it when the server goes out of use keeps it, and may give it back.
    admin.call("PATCH", f"/api/servers/{server.id}", json={"status": status.value})
    release(user, gpu)


def test_gpus_are_assigned_only_to_active_users(gpu: Gpu, make: Make, admin: Client) -> None:
    inactive = make(User, is_active=False)
    missing = User(id=987_654_321)
    for target in (inactive, missing):
        assert list(assign(admin, gpu, target, expect=422)["data"]["errors"]) == ["user_id"]
    assert records(admin, gpu)[-1]["action"] == "create"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", None),
        ("user_id", "1"),
        ("user_id", 0),
        ("user_id", -1),
        ("user_id", 2**63),
        ("user_id", 1.5),
        ("user_id", True),
        ("purpose", 1),
        ("purpose", "x" * 256),
        ("purpose", "a\x00b"),
        ("expires_at", "yesterday"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "2999-01-01"),
        ("expires_at", "2999-01-01T00:00:00"),
        ("expires_at", "9999-12-31T23:59:59-23:59"),
        ("expires_at", "0001-01-01T00:00:00+23:59"),
        ("expires_at", 1),
        ("status", "assigned"),
        ("nonsense", 1),
    ],
)
def test_invalid_assignments_are_refused(gpu: Gpu, admin: Client, field: str, value: object) -> None:
    body = {"user_id": admin.user.id, field: value}
    answer = admin.call("POST", f"/api/gpus/{gpu.id}/assign", json=body, expect=422)
    assert list(answer["data"]["errors"]) == [field]
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"]["version"] == 1


def test_holder_cannot_be_changed_by_patch(gpu: Gpu, admin: Client, user: Client) -> None:
    path = f"/api/gpus/{gpu.id}"
    assert list(admin.call("PATCH", path, json={"status": "assigned"}, expect=422)["data"]["errors"]) == ["status"]
    assign(admin, gpu, user.user)
    for body in ({"status": "available"}, {"status": "retired"}, {"assigned_to_id": None}, {"assigned_at": None}):
        assert list(admin.call("PATCH", path, json=body, expect=422)["data"]["errors"]) == list(body)
    assert admin.call("PATCH", path, json={"description": "busy"})["data"]["status"] == "assigned"


def test_history_is_paged_latest_first(gpu: Gpu, admin: Client, user: Client) -> None:
    for number in range(3):
        assign(admin, gpu, user.user, purpose=f"run {number}")
        release(admin, gpu)
    first, second = history(user, gpu, page=1, page_size=2), history(user, gpu, page=2, page_size=2)
    assert [entry["purpose"] for entry in first["data"] + second["data"]] == ["run 2", "run 1", "run 0"]
    assert first["pagination"] == {"page": 1, "page_size": 2, "total": 3, "pages": 2}
    assert history(user, gpu, page=9)["data"] == []
    for query in ("page=0", "page_size=101", "page=x", "nonsense=1"):
        user.call("GET", f"/api/gpus/{gpu.id}/assignments?{query}", expect=400)


def test_history_outlives_the_user(gpu: Gpu, admin: Client, sign_in: SignIn) -> None:
    leaver = sign_in()
    assign(leaver, gpu, leaver.user)
    refused = admin.call("DELETE", f"/api/users/{leaver.user.id}", expect=409)["data"]
    assert refused["children"] == {"gpus": 1}
    release(admin, gpu)
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    (entry,) = history(admin, gpu)["data"]
    assert (entry["user"], entry["username"]) == (None, leaver.user.username)


@pytest.mark.parametrize("gpu_id", ["987654321", "9" * 30])
def test_missing_gpu_is_not_found(admin: Client, gpu_id: str) -> None:
    path = f"/api/gpus/{gpu_id}"
    admin.call("POST", f"{path}/assign", json={"user_id": admin.user.id}, expect=404)
    admin.call("POST", f"{path}/release", expect=404)
    admin.call("GET", f"{path}/assignments", expect=404)


@pytest.mark.race
def test_one_of_fifty_concurrent_assigns_wins(app: Flask, gpu: Gpu, admin: Client, sign_in: SignIn) -> None:
    clients = [sign_in() for _ in range(50)]
    answers = run_concurrently([partial(assign, client, gpu, client.user, expect=(200, 409)) for client in clients])
    won = [answer["data"] for answer in answers if answer["code"] == 0]
    lost = [answer["data"] for answer in answers if answer["code"] == 409]
    assert (len(won), len(lost)) == (1, 49)
    holder = won[0]["assigned_to"]
    assert [data["holder"] for data in lost] == [holder] * 49
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"]["assigned_to"] == holder
    with app.app_context():
        active = sa.select(GpuAssignment.user_id).where(GpuAssignment.released_at.is_(None))
        assert db.session.scalars(active).all() == [holder["id"]]
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign"]


@pytest.mark.race
def test_one_of_many_concurrent_releases_counts(gpu: Gpu, admin: Client, user: Client) -> None:
    assign(admin, gpu, user.user)
    answers = run_concurrently([partial(release, client, gpu, expect=(200, 409)) for client in (admin, user) * 5])
    assert sorted(answer["code"] for answer in answers) == [0] + [409] * 9
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign", "release"]


def test_database_refuses_a_second_holder(app: Flask, gpu: Gpu, admin: Client, user: Client) -> None:
    assign(admin, gpu, user.user)
    entry = {"gpu_id": gpu.id, "user_id": admin.user.id, "username": "x", "assigned_by": "x", "assigned_at": utcnow()}
    for statement in (
        sa.insert(GpuAssignment).values(entry),
        sa.text("UPDATE gpus SET assigned_to_id = NULL, version = version + 1"),
        sa.text("UPDATE gpus SET status = 'available', version = version + 1"),
    ):
        with app.app_context(), pytest.raises(sa.exc.IntegrityError):
            db.session.execute(statement)


def test_a_dry_run_of_an_action_answers_and_stores_nothing(gpu: Gpu, admin: Client, user: Client) -> None:
    path, held = f"/api/gpus/{gpu.id}", {"user_id": user.user.id, "expires_at": TOMORROW}
    answer = user.call("POST", f"{path}/assign?dry_run=true", json=held)
    assert (answer["data"]["status"], answer["data"]["version"]) == ("assigned", 2)
    assert admin.call("GET", path)["data"]["version"] == 1
    assign(user, gpu, user.user)
    extended = user.call("POST", f"{path}/extend?dry_run=true", json={"expires_at": TOMORROW})
    assert extended["data"]["expires_at"] == TOMORROW
    assert user.call("POST", f"{path}/release?dry_run=true")["data"]["status"] == "available"
    stored = admin.call("GET", path)["data"]
    assert (stored["status"], stored["version"], stored["expires_at"]) == ("assigned", 2, None)
    assert history(user, gpu)["pagination"]["total"] == 1
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign"]
