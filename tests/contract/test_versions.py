"""Versions: each change is one more, and who changes what they have not seen is stopped if they ask to be."""

from datetime import datetime
from functools import partial

import pytest

from app.resource import Resource
from tests.client import Body, Client
from tests.contract.resources import all_rows, each_resource
from tests.factories import RESOURCE_OF, Make, writable_fields
from tests.spread import spread
from tests.threads import run_concurrently

pytestmark = spread


def stored(resource: Resource, make: Make, admin: Client) -> tuple[str, Body]:
    """The path and the body of an object with a value in every field."""
    body = admin.call("POST", resource.path, json=make.body(resource, full=True), expect=201)["data"]
    return f"{resource.path}/{body['id']}", body


def another(resource: Resource, make: Make, body: Body) -> Body:
    """Another valid value for every field that the object has a value for."""
    fresh = make.body(resource, full=True)
    return {
        name: fresh[name]
        for name in writable_fields(resource)
        if name in fresh and body[name] is not None and fresh[name] != body[name]
    }


@each_resource
def test_versions_are_counted(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    assert body["version"] == 1
    assert body["created_at"] == body["updated_at"]
    changes = another(resource, make, body)
    for version, (name, value) in enumerate(changes.items(), 2):
        changed = admin.call("PATCH", path, json={name: value})["data"]
        assert (changed["version"], changed[name]) == (version, value)
        assert changed["created_at"] == body["created_at"]
        assert datetime.fromisoformat(changed["updated_at"]) > datetime.fromisoformat(body["updated_at"])


@each_resource
def test_only_what_is_sent_changes(resource: Resource, make: Make, admin: Client) -> None:
    """PUT like PATCH: what is not sent stays as it is."""
    for method in ("PUT", "PATCH"):
        path, body = stored(resource, make, admin)
        for name, value in another(resource, make, body).items():
            changed = admin.call(method, path, json={name: value})["data"]
            reads_as = resource.fields[name].reads_as
            unchanged = set(body) - {name, reads_as, "version", "updated_at"}
            assert {each: changed[each] for each in unchanged} == {each: body[each] for each in unchanged}
            body = changed


@each_resource
def test_a_change_to_the_same_is_none(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    records = admin.call("GET", "/api/audit-logs")["pagination"]["total"]
    same = {name: body[name] for name in writable_fields(resource)}
    for unchanged in ({}, same, *({name: value} for name, value in same.items())):
        for method in ("PUT", "PATCH"):
            assert admin.call(method, path, json=unchanged)["data"] == body
    assert admin.call("GET", "/api/audit-logs")["pagination"]["total"] == records


@each_resource
def test_an_object_has_its_version_as_etag(resource: Resource, make: Make, admin: Client) -> None:
    created = admin.send("POST", resource.path, json=make.body(resource, full=True), expect=201)
    path = created.headers["Location"]
    assert created.headers["ETag"] == '"1"'
    changes = another(resource, make, created.json["data"])  # type: ignore[index]
    for version, (name, value) in enumerate(list(changes.items())[:2], 2):
        assert admin.send("PATCH", path, json={name: value}).headers["ETag"] == f'"{version}"'
        assert admin.send("GET", path).headers["ETag"] == f'"{version}"'


@each_resource
def test_if_match(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    (first, one), (second, two), *_ = another(resource, make, body).items()
    change = {first: one}
    for method, options in (("PUT", {"json": change}), ("PATCH", {"json": change}), ("DELETE", {})):
        for other in ('"2"', '"0"', '"01"', '"x"', '""', '"3", "4"', 'W/"1"', '"2", W/"1"'):
            data = admin.call(method, path, headers={"If-Match": other}, expect=412, **options)["data"]
            assert (data["reason"], data["current"]) == ("version_mismatch", body), other
        for malformed in ("1", "x", "W/1", 'w/"1"', '"1', '1"', "", '"1" "2"', '"1",'):
            data = admin.call(method, path, headers={"If-Match": malformed}, expect=400, **options)["data"]
            assert data["reason"] == "invalid_header", malformed
    assert admin.call("PATCH", path, json=change, headers={"If-Match": '"1"'})["data"]["version"] == 2
    both = {"If-Match": '"7", "2"'}
    assert admin.call("PUT", path, json={second: two}, headers=both)["data"]["version"] == 3
    assert admin.call("PUT", path, json={second: body[second]}, headers={"If-Match": "*"})["data"]["version"] == 4
    admin.call("DELETE", path, headers={"If-Match": '"4"'})


@pytest.mark.race
@each_resource
def test_of_two_changes_of_one_version_one_is_stopped(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    (first, one), (second, two), *_ = another(resource, make, body).items()
    change = partial(admin.call, "PATCH", path, headers={"If-Match": '"1"'}, expect=(200, 412))
    answers = run_concurrently([partial(change, json={first: one}), partial(change, json={second: two})])
    assert sorted(answer["code"] for answer in answers) == [0, 412]
    assert admin.call("GET", path)["data"]["version"] == 2


@pytest.mark.race
@each_resource
def test_without_a_condition_both_changes_are_kept(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    changes = another(resource, make, body)
    run_concurrently([partial(admin.call, "PATCH", path, json={name: value}) for name, value in changes.items()])
    after = admin.call("GET", path)["data"]
    assert {name: after[name] for name in changes} == changes
    assert after["version"] == 1 + len(changes)


@each_resource
def test_what_is_deleted_is_gone(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    assert admin.call("DELETE", path)["data"] is None
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        options = {"json": {}} if method in ("PUT", "PATCH") else {}
        admin.call(method, path, expect=404, **options)
    assert body["id"] not in [row["id"] for row in all_rows(resource, admin)]


@each_resource
def test_an_id_never_comes_back(resource: Resource, make: Make, admin: Client) -> None:
    """It would continue the audit trail of another object."""
    path, body = stored(resource, make, admin)
    admin.call("DELETE", path)
    _, again = stored(resource, make, admin)
    assert again["id"] > body["id"]


@each_resource
def test_what_has_children_is_not_deleted(resource: Resource, make: Make, admin: Client) -> None:
    """They are counted, by what they are; two of each kind that there may be."""
    parent = make(resource.model)
    path = f"{resource.path}/{parent.id}"
    expected: dict[str, int] = {}
    for child, name in referring(resource):
        for _ in range(2):
            make(child, **{name: parent.id})
        expected[child.__tablename__] = expected.get(child.__tablename__, 0) + 2
    if not expected:
        admin.call("DELETE", path)
        return
    data = admin.call("DELETE", path, expect=409)["data"]
    assert (data["reason"], data["children"]) == ("has_children", expected)
    assert admin.call("GET", path)["data"]["id"] == parent.id


def referring(resource: Resource) -> list[tuple[type, str]]:
    """The catalogued models, and their columns, that refer to a resource and keep it from being deleted."""
    return [
        (model, key.parent.key)
        for model in RESOURCE_OF
        for key in sorted(model.__table__.foreign_keys, key=lambda key: key.parent.key)
        if key.column.table is resource.model.__table__ and key.ondelete is None
    ]
