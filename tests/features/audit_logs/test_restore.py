"""Restore of a cascade, of users and of GPUs, and two restores at once."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth.models import AuthSession
from app.containers.models import Container
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.values import as_json, utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.servers.models import Server
from app.services.models import Service, ServiceCheck, ServiceStatus
from app.users.models import User
from tests.client import PASSWORD, Body, Client
from tests.conftest import SignIn, Statements
from tests.factories import Make
from tests.features.conftest import Upload
from tests.threads import run_concurrently


def deletion_of(kind: str, identity: int, admin: Client) -> str:
    """The path that restores the latest deletion of an object."""
    query = {"resource_type": kind, "resource_id": identity, "action": "delete", "sort": "-id"}
    record = admin.call("GET", "/api/audit-logs", query_string=query)["data"][0]
    return f"/api/audit-logs/{record['id']}/restore"


def tree(admin: Client, **parameters: Any) -> list[Body]:
    nodes: list[Body] = admin.call("GET", "/api/servers/tree", query_string={"level": 3, **parameters})["data"]
    return nodes


def without_stamps(item: Any) -> Any:
    """An object and its children without the fields that a restore changes."""
    if isinstance(item, list):
        return [without_stamps(one) for one in item]
    if isinstance(item, dict):
        return {name: without_stamps(one) for name, one in item.items() if name not in ("version", "updated_at")}
    return item


@pytest.fixture
def server(make: Make) -> Server:
    """A server in a datacenter with two containers, a service in each, a service of its own, and two GPUs."""
    created = make(Server, name="s1", datacenter_id=make(Datacenter, name="d1").id, full=True)
    for name in ("c1", "c2"):
        container = make(Container, name=name, server_id=created.id, full=True)
        make(Service, name="in it", container_id=container.id, server_id=None)
    make(Service, name="beside", server_id=created.id, container_id=None)
    for slot in range(2):
        make(Gpu, server_id=created.id, slot=slot, full=True)
    return created


def test_a_cascade_is_restored_as_a_whole(server: Server, make: Make, admin: Client) -> None:
    other = make(Container, name="elsewhere")
    before = tree(admin, id=server.id)
    admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
    path = deletion_of("servers", server.id, admin)
    assert tree(admin) == []
    restored = admin.call("POST", path)["data"]
    assert restored["counts"] == {"servers": 1, "containers": 2, "services": 3, "gpus": 2}
    after = tree(admin, id=server.id)
    assert without_stamps(after) == without_stamps(before)
    assert {node["version"] for node in (after[0], *after[0]["containers"], *after[0]["gpus"])} == {3}
    # All of it is one story.
    (request,) = {
        record["request_id"]
        for record in admin.call("GET", "/api/audit-logs", query_string={"action": "restore"})["data"]
    }
    story = admin.call("GET", "/api/audit-logs", query_string={"request_id": request})
    assert story["pagination"]["total"] == 8
    assert admin.call("GET", f"/api/containers/{other.id}")["data"]["version"] == 1


def test_a_child_is_restored_alone_only_if_its_parent_exists(server: Server, admin: Client) -> None:
    containers = [node["id"] for node in tree(admin)[0]["containers"]]
    admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
    part = deletion_of("containers", containers[0], admin)
    (conflict,) = admin.call("POST", part, expect=409)["data"]["conflicts"]
    assert (conflict["problem"], conflict["field"], conflict["id"]) == ("gone", "server_id", containers[0])
    assert str(server.id) in conflict["message"]
    admin.call("POST", deletion_of("servers", server.id, admin))
    admin.call("DELETE", f"/api/containers/{containers[1]}?cascade=true")
    restored = admin.call("POST", deletion_of("containers", containers[1], admin))["data"]
    assert restored["counts"] == {"containers": 1, "services": 1}


def test_one_conflict_refuses_the_whole_restore(server: Server, make: Make, admin: Client) -> None:
    gpu = tree(admin)[0]["gpus"][0]
    admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
    thief = make(Gpu, uuid=gpu["uuid"])
    path = deletion_of("servers", server.id, admin)
    answer = admin.call("POST", path, expect=409)["data"]
    assert answer["conflicts"] == [
        {
            "type": "gpus", "id": gpu["id"], "name": gpu["model"], "problem": "taken", "field": "uuid",
            "message": f"Another GPU ({thief.id}) has the same UUID now.", "by": thief.id,
        }
    ]  # fmt: skip
    assert tree(admin, id=server.id) == []
    assert admin.call("GET", "/api/audit-logs", query_string={"action": "restore"})["data"] == []
    admin.call("PATCH", f"/api/gpus/{thief.id}", json={"uuid": None})
    admin.call("POST", path)
    assert len(tree(admin, id=server.id)[0]["gpus"]) == 2


def test_the_number_of_statements_is_constant(make: Make, admin: Client, statements: Statements) -> None:
    def cost(containers: int) -> int:
        server = make(Server)
        for _ in range(containers):
            make(Service, container_id=make(Container, server_id=server.id).id, server_id=None)
        admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
        path = deletion_of("servers", server.id, admin)
        with statements() as sent:
            admin.call("POST", path)
        return len(sent)

    cost(1)
    # Conflicts are looked for in each resource once.
    assert cost(12) <= cost(2) + 2


def test_a_missing_parent_is_named(make: Make, admin: Client) -> None:
    old, new = make(Server), make(Server)
    container = make(Container, server_id=old.id)
    admin.call("PATCH", f"/api/containers/{container.id}", json={"server_id": new.id})
    query = {"resource_type": "containers", "resource_id": container.id, "version": 2}
    (change,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    admin.call("DELETE", f"/api/servers/{old.id}")
    answer = admin.call("POST", f"/api/audit-logs/{change['id']}/restore", expect=409)["data"]
    assert [(each["problem"], each["field"]) for each in answer["conflicts"]] == [("gone", "server_id")]
    admin.call("POST", deletion_of("servers", old.id, admin))
    admin.call("POST", f"/api/audit-logs/{change['id']}/restore")
    assert admin.call("GET", f"/api/containers/{container.id}")["data"]["server"]["id"] == old.id


def test_a_missing_creator_is_left_out(sign_in: SignIn, admin: Client) -> None:
    leaver = sign_in()
    created = leaver.call("POST", "/api/servers", json={"name": "left behind"}, expect=201)["data"]
    leaver.call("DELETE", f"/api/servers/{created['id']}")
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    restored = admin.call("POST", deletion_of("servers", created["id"], admin))["data"]
    (left_out,) = restored["left_out"]
    assert (left_out["field"], left_out["value"]) == ("created_by_id", leaver.user.id)
    assert admin.call("GET", f"/api/servers/{created['id']}")["data"]["created_by"] is None


def test_a_gpu_whose_holder_is_missing_is_restored_as_available(sign_in: SignIn, make: Make, admin: Client) -> None:
    holder, gpu = sign_in(), make(Gpu, status="available")
    holder.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": holder.user.id})
    admin.call("DELETE", f"/api/gpus/{gpu.id}")
    admin.call("DELETE", f"/api/users/{holder.user.id}")
    restored = admin.call("POST", deletion_of("gpus", gpu.id, admin))["data"]
    assert [each["field"] for each in restored["left_out"]] == ["assigned_to_id"]
    after = admin.call("GET", f"/api/gpus/{gpu.id}")["data"]
    assert (after["status"], after["assigned_to"]) == ("available", None)
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id})
    current, former = admin.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"]
    assert (current["released_at"], former["username"]) == (None, holder.user.username)
    assert (former["user"], former["released_by"]) == (None, admin.user.username)


BULK: Body = {"mode": "atomic"}


@pytest.mark.parametrize("path", ["gpu", "cascade", "bulk", "bulk cascade"])
def test_a_restored_gpu_has_its_assignments(make: Make, admin: Client, user: Client, path: str) -> None:
    gpu, until = make(Gpu, status="available"), as_json(utcnow() + timedelta(days=1))
    for purpose in ("first", "second"):
        body = {"user_id": user.user.id, "purpose": purpose, "expires_at": until}
        admin.call("POST", f"/api/gpus/{gpu.id}/assign", json=body)
        if purpose == "first":
            admin.call("POST", f"/api/gpus/{gpu.id}/release")
    before = admin.call("GET", f"/api/gpus/{gpu.id}")["data"]
    history = admin.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"]
    kind = "servers" if "cascade" in path else "gpus"
    identity = gpu.server_id if "cascade" in path else gpu.id
    if "bulk" in path:
        admin.call("DELETE", f"/api/{kind}/bulk?cascade=true", json={**BULK, "items": [identity]})
    else:
        admin.call("DELETE", f"/api/{kind}/{identity}?cascade=true")
    admin.call("POST", deletion_of(kind, identity, admin))
    after = admin.call("GET", f"/api/gpus/{gpu.id}")["data"]
    assert without_stamps(after) == without_stamps(before)
    assert (after["purpose"], after["expires_at"]) == ("second", until)
    assert admin.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"] == history
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id}, expect=409)
    admin.call("POST", f"/api/gpus/{gpu.id}/release")
    assert all(entry["released_at"] for entry in admin.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"])


def test_a_restored_service_has_the_history_of_its_checks(app: Flask, make: Make, admin: Client) -> None:
    service = make(Service)
    with app.app_context():
        check = {"service_id": service.id, "checked_at": utcnow(), "status": ServiceStatus.HEALTHY, "is_change": False}
        db.session.execute(sa.insert(ServiceCheck.__table__).values(check))
        db.session.commit()
    before = admin.call("GET", f"/api/services/{service.id}/checks")["data"]
    admin.call("DELETE", f"/api/services/{service.id}")
    admin.call("POST", deletion_of("services", service.id, admin))
    assert admin.call("GET", f"/api/services/{service.id}/checks")["data"] == before
    assert len(before) == 1


def remove_alone(owner: Client, server: int) -> None:
    owner.call("DELETE", f"/api/servers/{server}")


def remove_cascade(owner: Client, server: int) -> None:
    owner.call("DELETE", f"/api/servers/{server}?cascade=true")


def remove_in_bulk(owner: Client, server: int) -> None:
    owner.call("DELETE", "/api/servers/bulk", json={**BULK, "items": [server]})


def remove_by_filter(owner: Client, server: int) -> None:
    owner.call("DELETE", "/api/servers/bulk", json={**BULK, "filter": {"id": server}, "expected_count": 1})


REMOVALS = [remove_alone, remove_cascade, remove_in_bulk, remove_by_filter]


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_task_of_another_user_is_reattached(
    make: Make, admin: Client, user: Client, other: Client, remove: Callable[[Client, int], None]
) -> None:
    server = make(Server, created_by_id=user.user.id)
    task = other.call("POST", "/api/tasks", json={"title": "t", "server_id": server.id}, expect=201)["data"]
    remove(user, server.id)
    assert other.call("GET", f"/api/tasks/{task['id']}")["data"]["server"] is None
    path = deletion_of("servers", server.id, admin)
    restored = admin.call("POST", path, query_string={"dry_run": "true"})["data"]
    shown = {"type": "tasks", "id": task["id"], "name": "t", "version": 3, "field": "server_id", "value": server.id}
    assert (restored["counts"], restored["reattached"], restored["left_out"]) == ({"servers": 1}, [shown], [])
    assert admin.call("POST", path)["data"] == restored
    after = other.call("GET", f"/api/tasks/{task['id']}")["data"]
    assert (after["server"]["id"], after["version"]) == (server.id, 3)
    query = {"resource_type": "tasks", "resource_id": task["id"], "version": 3}
    (record,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert (record["action"], record["changes"]) == ("restore", {"server_id": {"old": None, "new": server.id}})


def test_a_task_is_reattached_after_the_revert_of_an_import(
    make: Make, admin: Client, user: Client, other: Client, upload: Upload
) -> None:
    import_ = upload(user, Servers=[("Name",), ("imported",)], form={"apply": "true"})
    (server,) = user.call("GET", "/api/servers?name=imported")["data"]
    task = other.call("POST", "/api/tasks", json={"title": "t", "server_id": server["id"]}, expect=201)["data"]
    user.call("POST", f"/api/imports/{import_['id']}/revert")
    user.call("GET", f"/api/servers/{server['id']}", expect=404)
    restored = admin.call("POST", deletion_of("servers", server["id"], admin))["data"]
    assert [item["id"] for item in restored["reattached"]] == [task["id"]]
    assert other.call("GET", f"/api/tasks/{task['id']}")["data"]["server"]["id"] == server["id"]


def test_a_task_that_is_about_something_else_now_is_left_out(
    make: Make, admin: Client, user: Client, other: Client
) -> None:
    server, elsewhere = make(Server, created_by_id=user.user.id), make(Server)
    tasks = [
        other.call("POST", "/api/tasks", json={"title": title, "server_id": server.id}, expect=201)["data"]["id"]
        for title in ("moved", "deleted", "other kind")
    ]
    user.call("DELETE", f"/api/servers/{server.id}")
    other.call("PATCH", f"/api/tasks/{tasks[0]}", json={"server_id": elsewhere.id})
    other.call("DELETE", f"/api/tasks/{tasks[1]}")
    other.call("PATCH", f"/api/tasks/{tasks[2]}", json={"gpu_id": make(Gpu).id})
    restored = admin.call("POST", deletion_of("servers", server.id, admin))["data"]
    assert restored["reattached"] == []
    left_out = [(item["name"], item["version"], item["field"], item["value"]) for item in restored["left_out"]]
    versions = {"moved": 3, "deleted": 2, "other kind": 3}
    assert left_out == [(name, version, "server_id", server.id) for name, version in versions.items()]
    assert other.call("GET", f"/api/tasks/{tasks[0]}")["data"]["server"]["id"] == elsewhere.id


def test_an_assignment_is_undone_by_a_release(make: Make, admin: Client) -> None:
    gpu = make(Gpu, status="available")
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id})
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"action": "assign"})["data"]
    answer = admin.call("POST", f"/api/audit-logs/{record['id']}/restore", expect=409)["data"]
    assert answer["reason"] == "not_restorable"
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"]["status"] == "assigned"


def test_a_user_is_restored_without_password_and_sessions(
    app: Flask, sign_in: SignIn, anonymous: Client, admin: Client
) -> None:
    person = sign_in(role=Role.ADMIN)
    login = {"username": person.user.username, "password": PASSWORD}
    admin.call("DELETE", f"/api/users/{person.user.id}")
    admin.call("POST", deletion_of("users", person.user.id, admin))
    after = admin.call("GET", f"/api/users/{person.user.id}")["data"]
    assert (after["username"], after["role"], after["is_active"]) == (person.user.username, "admin", True)
    person.call("GET", "/api/auth/me", expect=401)
    anonymous.call("POST", "/api/auth/login", json=login, expect=401)
    with app.app_context():
        assert db.session.scalar(sa.select(User.password_hash).where(User.id == person.user.id)) is None
        sessions = sa.select(sa.func.count()).where(AuthSession.user_id == person.user.id)
        assert db.session.scalar(sessions) == 0
    admin.call("PATCH", f"/api/users/{person.user.id}", json={"password": "another long password"})
    anonymous.call("POST", "/api/auth/login", json={**login, "password": "another long password"})


def test_a_changed_password_cannot_be_restored(make: Make, admin: Client) -> None:
    user = make(User)
    admin.call("PATCH", f"/api/users/{user.id}", json={"password": "another long password"})
    query = {"resource_type": "users", "resource_id": user.id, "version": 2}
    (change,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    answer = admin.call("POST", f"/api/audit-logs/{change['id']}/restore", expect=409)["data"]
    assert answer["reason"] == "not_restorable"


def test_restoring_does_not_let_users_demote_themselves(sign_in: SignIn, admin: Client) -> None:
    raised = sign_in()
    admin.call("PATCH", f"/api/users/{raised.user.id}", json={"role": "admin"})
    (change,) = admin.call("GET", "/api/audit-logs", query_string={"field": "role", "from": "user"})["data"]
    answer = raised.call("POST", f"/api/audit-logs/{change['id']}/restore", expect=403)["data"]
    assert answer["reason"] == "yourself"


@pytest.mark.race
def test_of_two_restores_at_once_one_succeeds(server: Server, admin: Client) -> None:
    for _ in range(10):
        admin.call("DELETE", f"/api/servers/{server.id}?cascade=true")
        path = deletion_of("servers", server.id, admin)
        restores = [partial(admin.send, "POST", path, expect=(200, 409)) for _ in range(3)]
        statuses = sorted(answer.status_code for answer in run_concurrently(restores))
        assert statuses == [200, 409, 409]
    assert len(tree(admin)[0]["containers"]) == 2
