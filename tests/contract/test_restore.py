"""What was deleted comes back as it was, and a change is put back, or what speaks against it is named."""

from typing import Any

import pytest
from flask import Flask

from app.core.audit.declaration import audited_columns
from app.resource import Resource
from tests.client import Body, Client
from tests.contract.resources import each_resource
from tests.contract.test_audit import live, records_of
from tests.contract.test_uniqueness import alike, rules
from tests.contract.test_versions import another, stored
from tests.factories import Make
from tests.spread import spread

pytestmark = spread

DRY = {"dry_run": "true"}


def latest(resource: Resource, identity: int, admin: Client) -> Body:
    query = {"resource_type": resource.name, "resource_id": identity, "version__gte": 1, "sort": "-id", "page_size": 1}
    record: Body = admin.call("GET", "/api/audit-logs", query_string=query)["data"][0]
    return record


def undo(record: Body, admin: Client, *, expect: int = 200, **query: Any) -> Body:
    path = f"/api/audit-logs/{record['id']}/restore"
    body: Body = admin.call("POST", path, query_string=query, expect=expect)["data"]
    return body


def problems(record: Body, admin: Client) -> list[tuple[str, str | None]]:
    """What stands in the way of a restore, and in which field; nothing happens."""
    tried, answer = undo(record, admin, expect=409, **DRY), undo(record, admin, expect=409)
    assert tried == answer
    assert answer["reason"] == "restore_conflict"
    return [(conflict["problem"], conflict.get("field")) for conflict in answer["conflicts"]]


@each_resource
def test_a_deleted_object_comes_back_as_it_was(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    path, before = stored(resource, make, admin)
    columns = live(app, resource, before["id"])
    admin.call("DELETE", path)
    deletion = latest(resource, before["id"], admin)
    named = {"type": resource.name, "id": before["id"], "name": str(before[resource.model.label]), "version": 3}
    expected = {"counts": {resource.name: 1}, "objects": [named], "reattached": [], "left_out": []}
    assert undo(deletion, admin, **DRY) == expected
    admin.call("GET", path, expect=404)
    assert undo(deletion, admin) == expected
    after = admin.call("GET", path)["data"]
    assert after == {**before, "version": 3, "updated_at": after["updated_at"]}
    assert live(app, resource, before["id"]) == columns
    record = latest(resource, before["id"], admin)
    assert (record["action"], record["version"], record["snapshot"]) == ("restore", 3, None)
    assert record["user_id"] == admin.user.id
    secret = {name for name, column in audited_columns(resource.model).items() if column.info.get("secret")}
    assert {name: change["new"] for name, change in record["changes"].items()} == {
        name: value for name, value in columns.items() if value is not None and name not in secret
    }


@each_resource
def test_what_came_back_lives_on(resource: Resource, make: Make, admin: Client) -> None:
    """It is changed, deleted and restored again, and new objects get ids of their own."""
    path, before = stored(resource, make, admin)
    for round_ in range(2):
        admin.call("DELETE", path)
        undo(latest(resource, before["id"], admin), admin)
        assert admin.call("GET", path)["data"]["version"] == 3 + 3 * round_
        admin.call("PATCH", path, json=dict(list(another(resource, make, before).items())[:1]))
    assert [record["version"] for record in records_of(resource, before["id"], admin)] == list(range(1, 8))
    created = admin.call("POST", resource.path, json=make.body(resource), expect=201)["data"]
    assert created["id"] > before["id"]


@each_resource
def test_what_is_there_again_is_not_restored_twice(resource: Resource, make: Make, admin: Client) -> None:
    path, before = stored(resource, make, admin)
    admin.call("DELETE", path)
    deletion = latest(resource, before["id"], admin)
    undo(deletion, admin)
    assert problems(deletion, admin)[0] == ("newer", None)
    admin.call("DELETE", path)
    assert problems(deletion, admin)[0] == ("newer", None)
    assert latest(resource, before["id"], admin)["version"] == 4


@each_resource
def test_what_was_taken_meanwhile_is_named(resource: Resource, make: Make, admin: Client) -> None:
    for rule in rules(resource):
        path, before = stored(resource, make, admin)
        body = alike(resource, make, before, rule)
        admin.call("DELETE", path)
        other = admin.call("POST", resource.path, json=body, expect=201)["data"]
        deletion = latest(resource, before["id"], admin)
        assert ("taken", rule[0][-1]) in problems(deletion, admin)
        admin.call("GET", path, expect=404)
        admin.call("DELETE", f"{resource.path}/{other['id']}")
        undo(deletion, admin)
        admin.call("DELETE", path)


@each_resource
def test_each_change_is_put_back(resource: Resource, make: Make, admin: Client) -> None:
    path, before = stored(resource, make, admin)
    for name, value in another(resource, make, before).items():
        admin.call("PATCH", path, json={name: value})
        change = latest(resource, before["id"], admin)
        if change["changes"][name]["new"] == "changed":
            continue
        current = admin.call("GET", path)["data"]["version"]
        named = undo(change, admin, **DRY)["objects"]
        assert named == undo(change, admin)["objects"]
        after = admin.call("GET", path)["data"]
        assert (after[name], after["version"]) == (before[name], current + 1)
        record = latest(resource, before["id"], admin)
        assert (record["action"], record["changes"]) == ("restore", {name: {"old": value, "new": before[name]}})
        # Undoing the undoing does it again.
        undo(record, admin)
        assert admin.call("GET", path)["data"][name] == value
        undo(latest(resource, before["id"], admin), admin)


@each_resource
def test_what_changed_since_is_named_and_other_fields_do_not_matter(
    resource: Resource, make: Make, admin: Client
) -> None:
    path, before = stored(resource, make, admin)
    (first, one), (second, two), *_ = another(resource, make, before).items()
    admin.call("PATCH", path, json={first: one})
    change = latest(resource, before["id"], admin)
    admin.call("PATCH", path, json={second: two})
    undo(change, admin)
    assert problems(change, admin) == [("changed", first)]
    assert admin.call("GET", path)["data"]["version"] == 4
    admin.call("DELETE", path)
    assert problems(change, admin) == [("gone", None)]


@each_resource
def test_what_cannot_be_undone_says_so(resource: Resource, make: Make, admin: Client) -> None:
    path, before = stored(resource, make, admin)
    creation = latest(resource, before["id"], admin)
    assert undo(creation, admin, expect=409)["reason"] == "not_restorable"
    admin.call("DELETE", path)
    undo(latest(resource, before["id"], admin), admin)
    # That it came back is how it came to be.
    assert undo(latest(resource, before["id"], admin), admin, expect=409)["reason"] == "not_restorable"


def test_a_record_of_no_change_cannot_be_undone(admin: Client) -> None:
    (login,) = admin.call("GET", "/api/audit-logs", query_string={"action": "login"})["data"]
    assert undo(login, admin, expect=409)["reason"] == "not_restorable"
    admin.call("POST", "/api/audit-logs/987654321/restore", expect=404)
    admin.call("POST", f"/api/audit-logs/{login['id']}/restore?dryrun=1", expect=400)


@pytest.mark.parametrize("name", ["none"])
def test_nobody_else_restores(name: str, make: Make, admin: Client, user: Client) -> None:
    created = user.call("POST", "/api/servers", json={"name": name}, expect=201)["data"]
    user.call("DELETE", f"/api/servers/{created['id']}")
    (deletion,) = admin.call("GET", "/api/audit-logs", query_string={"action": "delete"})["data"]
    user.call("POST", f"/api/audit-logs/{deletion['id']}/restore", expect=403)
