"""Writes that change a part of a field: attributes merge by key, lists gain and lose members."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from app.core.http.access import Role
from app.resource import Resource
from app.resource.fields import Kind
from app.users.models import User
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.contract.resources import RESOURCES
from tests.contract.test_bulk import bulk, free_text
from tests.factories import Make
from tests.spread import spread
from tests.threads import run_concurrently

pytestmark = spread

each_extensible = pytest.mark.parametrize(
    "resource", [each for each in RESOURCES if "attributes" in each.fields], ids=lambda each: each.name
)
each_list = pytest.mark.parametrize(
    ("resource", "name"),
    [(each, field.name) for each in RESOURCES for field in each.fields.values() if field.kind is Kind.LIST],
    ids=lambda each: getattr(each, "name", each),
)


def patch(client: Client, path: str, body: Body) -> Body:
    data: Body = client.call("PATCH", path, json=body)["data"]
    return data


def put(client: Client, path: str, body: Body) -> Body:
    data: Body = client.call("PUT", path, json=body)["data"]
    return data


def patch_item(client: Client, path: str, body: Body) -> Body:
    collection, _, identity = path.rpartition("/")
    answer = client.call("PATCH", f"{collection}/bulk", json={"items": [{"id": int(identity), **body}]})
    data: Body = answer["data"]["results"][0]["data"]
    return data


def patch_by_filter(client: Client, path: str, body: Body) -> Body:
    collection, _, identity = path.rpartition("/")
    by_id = {"filter": {"id": int(identity)}, "set": body, "expected_count": 1}
    client.call("PATCH", f"{collection}/bulk", json=by_id)
    data: Body = client.call("GET", path)["data"]
    return data


each_write = pytest.mark.parametrize("write", [patch, put, patch_item, patch_by_filter])


def records_of(client: Client, resource: Resource, identity: int) -> list[Body]:
    asked = {"resource_type": resource.name, "resource_id": identity, "sort": "id", "page_size": 100}
    records: list[Body] = client.call("GET", "/api/audit-logs", query_string=asked)["data"]
    return records


@each_write
@each_extensible
def test_attributes_merge_by_key(resource: Resource, write: Any, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model, attributes={'hdd': 4, 'qos': 'LS', 'old': True}).id}"
    changed = write(admin, path, {"attributes": {"hdd": 6, "new": 1.5, "old": None, "never": None}})
    assert changed["attributes"] == {"hdd": 6, "qos": "LS", "new": 1.5}
    assert write(admin, path, {"attributes": {"qos": None}})["attributes"] == {"hdd": 6, "new": 1.5}
    version = admin.call("GET", path)["data"]["version"]
    for nothing in ({}, {"hdd": 6}, {"hdd": 6.0}, {"gone": None}):
        assert write(admin, path, {"attributes": nothing})["version"] == version
    # Python finds them equal.
    for value in (True, 1, False, 0):
        assert write(admin, path, {"attributes": {"hdd": value}})["attributes"]["hdd"] is value
    assert write(admin, path, {"attributes": None})["attributes"] == {}
    changes = [record["changes"]["attributes"] for record in records_of(admin, resource, changed["id"])[1:]]
    assert [change["old"] for change in changes[1:]] == [change["new"] for change in changes[:-1]]
    assert changes[0]["old"] == {"hdd": 4, "qos": "LS", "old": True}


@each_extensible
def test_attributes_of_a_new_object(resource: Resource, make: Make, admin: Client) -> None:
    for given, stored in ((None, {}), ({"a": None, "b": 2.0}, {"b": 2})):
        body = {**make.body(resource), "attributes": given}
        created = admin.call("POST", resource.path, json=body, expect=201)["data"]
        assert created["attributes"] == stored
        body = {**make.body(resource), "attributes": given}
        many = admin.call("POST", f"{resource.path}/bulk", json={"items": [body]}, expect=201)["data"]
        assert many["results"][0]["data"]["attributes"] == stored


@each_extensible
def test_too_many_attributes_after_a_merge(resource: Resource, make: Make, admin: Client) -> None:
    full = {f"k{number}": number for number in range(64)}
    path = f"{resource.path}/{make(resource.model, attributes=full).id}"
    for body in ({"attributes": {"k64": 1}}, {"attributes": {"k0": None, "k64": 1, "k65": 1}}):
        refused = admin.call("PATCH", path, json=body, expect=422)
        assert list(refused["data"]["errors"]) == ["attributes"]
        item = {"id": int(path.rpartition("/")[2]), **body}
        results = bulk(admin, "PATCH", resource, {"mode": "partial", "items": [item]})["results"]
        assert results[0]["error"] == refused
    changed = patch(admin, path, {"attributes": {"k0": None, "k64": 1}})
    assert len(changed["attributes"]) == 64


@each_extensible
def test_numbers_that_would_be_rounded(resource: Resource, make: Make, admin: Client) -> None:
    identity = make(resource.model).id
    path = f"{resource.path}/{identity}"
    for number in (2**53, -(2**53), 2**53 - 1, 0.1, 1e-7, -1.5):
        assert patch(admin, path, {"attributes": {"n": number}})["attributes"] == {"n": number}
    for text in (
        "9007199254740993",
        "-9007199254740993",
        "9007199254740993.0",
        "1e16",
        "123456789012345678901234567890",
    ):
        body = f'{{"attributes": {{"n": {text}}}}}'
        refused = admin.call("PATCH", path, data=body, content_type="application/json", expect=422)
        assert list(refused["data"]["errors"]) == ["attributes.n"], text
        items = f'{{"items": [{{"id": {identity}, {body[1:]}]}}'
        options: Any = {"data": items, "content_type": "application/json", "expect": 422}
        admin.call("PATCH", f"{resource.path}/bulk", **options)
    assert patch(admin, path, {"attributes": {"n": "9007199254740993"}})["attributes"] == {"n": "9007199254740993"}


@pytest.mark.race
@each_extensible
def test_people_who_edit_different_attributes_keep_theirs(
    resource: Resource, make: Make, admin: Client, sign_in: SignIn
) -> None:
    another_admin = sign_in(role=Role.ADMIN)
    identity = make(resource.model, attributes={"kept": "x"}).id
    path = f"{resource.path}/{identity}"
    writers = [(client, write) for client in (admin, another_admin) for write in (patch, put, patch_item)]
    run_concurrently([
        partial(write, client, path, {"attributes": {f"key {at}": at, "never": None}})
        for at, (client, write) in enumerate(writers)
    ])  # fmt: skip
    wanted = {"kept": "x"} | {f"key {at}": at for at in range(len(writers))}
    assert admin.call("GET", path)["data"]["attributes"] == wanted
    records = records_of(admin, resource, identity)
    assert [record["version"] for record in records] == list(range(1, len(writers) + 2))
    changes = [record["changes"]["attributes"] for record in records]
    for before, after in pairwise(changes):
        assert after["old"] == before["new"]
        assert len(after["new"]) == len(after["old"]) + 1


@each_extensible
def test_if_match_still_tells_of_other_edits(resource: Resource, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model, attributes={'a': 1}).id}"
    seen = admin.send("GET", path).headers["ETag"]
    admin.call("PATCH", path, json={"attributes": {"b": 2}}, headers={"If-Match": seen})
    late = admin.call("PATCH", path, json={"attributes": {"a": 3}}, headers={"If-Match": seen}, expect=412)
    assert late["data"]["current"]["attributes"] == {"a": 1, "b": 2}


@each_write
@each_list
def test_members_are_added_and_removed(resource: Resource, name: str, write: Any, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model, **{name: ['web', 'Prod', 'prod']}).id}"
    add, remove = f"{name}__add", f"{name}__remove"
    assert write(admin, path, {add: ["db", "WEB", " db ", "DB"]})[name] == ["web", "Prod", "prod", "db"]
    assert write(admin, path, {remove: ["PROD", "never"]})[name] == ["web", "db"]
    assert write(admin, path, {add: ["Web"], remove: ["web"]})[name] == ["db", "Web"]
    version = admin.call("GET", path)["data"]["version"]
    for nothing in ({add: []}, {remove: ["x"]}, {add: ["web"]}):
        assert write(admin, path, nothing)["version"] == version
    assert write(admin, path, {name: []})[name] == []


@each_list
def test_members_that_are_refused(resource: Resource, name: str, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model, **{name: [f't{number}' for number in range(99)]}).id}"
    add, remove = f"{name}__add", f"{name}__remove"
    for body, wrong in (
        ({add: ["a", "b"]}, add),
        ({add: None}, add),
        ({add: "a"}, add),
        ({remove: [1]}, f"{remove}.0"),
        ({add: ["x" * 256]}, f"{add}.0"),
        ({name: ["a"], add: ["b"]}, name),
    ):
        options: Any = {"expect": 422, "content_type": "application/json"}
        refused = admin.call("PATCH", path, json=body, **options)
        assert list(refused["data"]["errors"]) == [wrong], body
    refused = admin.call("POST", resource.path, json={**make.body(resource), add: ["a"]}, expect=422)
    assert list(refused["data"]["errors"]) == [add]
    assert len(admin.call("GET", path)["data"][name]) == 99


@pytest.mark.race
@each_list
def test_people_who_add_members_at_once(resource: Resource, name: str, make: Make, admin: Client) -> None:
    path = f"{resource.path}/{make(resource.model, **{name: ['a']}).id}"
    run_concurrently([partial(patch, admin, path, {f"{name}__add": [f"m{at}"]}) for at in range(6)])
    assert sorted(admin.call("GET", path)["data"][name]) == ["a", *(f"m{at}" for at in range(6))]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.name)
def test_the_dry_run_of_a_bulk_change_shows_old_and_new(resource: Resource, make: Make, admin: Client) -> None:
    name = free_text(resource)
    first, second = (make(resource.model, **{name: text}) for text in ("one", "two"))
    by_filter = {"filter": {"id": [first.id, second.id]}, "set": {name: "two"}, "expected_count": 2}
    by_item = {"items": [{"id": each.id, name: "two"} for each in (first, second)]}
    for body in (by_filter, by_item):
        results = bulk(admin, "PATCH", resource, body, query_string={"dry_run": "true"})["results"]
        assert [result["changes"] for result in results] == [{name: {"old": "one", "new": "two"}}, {}]
    assert admin.call("GET", f"{resource.path}/{first.id}")["data"][name] == "one"
    mixed = {"mode": "partial", "items": [{"id": first.id, name: "x"}, {"id": 2**40, name: "x"}]}
    results = bulk(admin, "PATCH", resource, mixed, query_string={"dry_run": "true"})["results"]
    assert [result["changes"] for result in results] == [{name: {"old": "one", "new": "x"}}, None]
    stored = bulk(admin, "PATCH", resource, by_item)["results"]
    assert all("changes" not in result for result in stored)
    record = records_of(admin, resource, first.id)[-1]
    assert record["changes"] == {name: {"old": "one", "new": "two"}}


@each_extensible
def test_the_dry_run_shows_attributes_as_the_record_will(resource: Resource, make: Make, admin: Client) -> None:
    identity = make(resource.model, attributes={"a": 1, "b": 2}).id
    body = {"filter": {"id": identity}, "set": {"attributes": {"a": None, "c": 3}}, "expected_count": 1}
    shown = bulk(admin, "PATCH", resource, body, query_string={"dry_run": "true"})["results"][0]["changes"]
    assert shown == {"attributes": {"old": {"a": 1, "b": 2}, "new": {"b": 2, "c": 3}}}
    bulk(admin, "PATCH", resource, body)
    assert records_of(admin, resource, identity)[-1]["changes"] == shown


def test_a_dry_run_shows_no_password(make: Make, admin: Client) -> None:
    identity = make(User).id
    body = {"items": [{"id": identity, "password": "another canary of a password"}]}
    answer = admin.call("PATCH", "/api/users/bulk", json=body, query_string={"dry_run": "true"})
    assert answer["data"]["results"][0]["changes"] == {"password": {"old": None, "new": "changed"}}


def latest_change(client: Client, resource: Resource, identity: int) -> str:
    """The path that undoes the latest change of an object."""
    return f"/api/audit-logs/{records_of(client, resource, identity)[-1]['id']}/restore"


@each_extensible
def test_undoing_a_change_leaves_the_attributes_of_others(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model, attributes={"hdd": 4, "qos": "LS", "old": 1})
    path = f"{resource.path}/{target.id}"
    patch(admin, path, {"attributes": {"hdd": 6, "new": True, "old": None}})
    undo = latest_change(admin, resource, target.id)
    patch(admin, path, {"attributes": {"qos": "BE", "theirs": "x"}})
    admin.call("POST", undo)
    stored = admin.call("GET", path)["data"]["attributes"]
    assert stored == {"hdd": 4, "qos": "BE", "old": 1, "theirs": "x"}


@each_extensible
def test_each_attribute_that_has_changed_since_is_named(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model, attributes={"hdd": 4, "qos": "LS", "old": 1})
    path = f"{resource.path}/{target.id}"
    patch(admin, path, {"attributes": {"hdd": 6, "new": True, "old": None}})
    undo = latest_change(admin, resource, target.id)
    before = patch(admin, path, {"attributes": {"hdd": 8, "new": 1, "qos": "BE"}})
    refused = admin.call("POST", undo, expect=409)["data"]
    assert [(each["field"], each["now"], each["then"]) for each in refused["conflicts"]] == [
        ("attributes.hdd", 8, 6),
        ("attributes.new", 1, True),
    ]
    assert refused["conflicts"][0]["message"] == "Its attribute hdd has changed since."
    assert admin.call("GET", path)["data"] == before


@each_extensible
def test_removing_all_attributes_is_undone_beside_new_ones(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model, attributes={"hdd": 4, "qos": "LS"})
    path = f"{resource.path}/{target.id}"
    patch(admin, path, {"attributes": None})
    undo = latest_change(admin, resource, target.id)
    patch(admin, path, {"attributes": {"theirs": "x"}})
    admin.call("POST", undo)
    assert admin.call("GET", path)["data"]["attributes"] == {"hdd": 4, "qos": "LS", "theirs": "x"}


@each_extensible
def test_an_undone_change_may_not_bring_back_too_many_attributes(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model, attributes={f"k{number}": number for number in range(64)})
    path = f"{resource.path}/{target.id}"
    patch(admin, path, {"attributes": {"k0": None}})
    undo = latest_change(admin, resource, target.id)
    before = patch(admin, path, {"attributes": {"theirs": "x"}})
    refused = admin.call("POST", undo, expect=422)["data"]
    assert refused["errors"] == {"attributes": ["At most 64 attributes; with these there are 65."]}
    assert admin.call("GET", path)["data"] == before
    patch(admin, path, {"attributes": {"theirs": None}})
    admin.call("POST", undo)
    assert len(admin.call("GET", path)["data"]["attributes"]) == 64
