"""The history of one object: its audit records, as far as those who see the object may see them."""

from typing import Any

import pytest

from app.core.http.access import Role
from app.resource import Resource
from tests.client import Body, Client
from tests.contract.resources import each_private, each_public, each_resource
from tests.contract.test_versions import another, stored
from tests.factories import Make
from tests.spread import spread

pytestmark = spread

HIDDEN = ("ip_address", "user_agent", "token_id")


def history(client: Client, path: str, **query: Any) -> list[Body]:
    body = client.call("GET", f"{path}/history", query_string=query)
    records: list[Body] = body["data"]
    return records


@each_resource
def test_it_has_each_version_with_what_changed(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    changes = list(another(resource, make, body).items())[:3]
    for name, value in changes:
        admin.call("PATCH", path, json={name: value}, headers={"X-Audit-Reason": f"because of {name}"})
    records = history(admin, path)
    assert [(each["action"], each["version"]) for each in records] == [
        ("create", 1),
        *(("update", version) for version in range(2, len(changes) + 2)),
    ]
    for record, (name, value) in zip(records[1:], changes, strict=True):
        assert record["changes"] == {name: {"old": body[name], "new": value}}
        assert (record["reason"], record["username"]) == (f"because of {name}", admin.user.username)
        assert (record["resource_type"], record["resource_id"]) == (resource.name, body["id"])


@each_resource
def test_it_has_the_records_of_no_other(resource: Resource, make: Make, admin: Client) -> None:
    (path, body), _ = stored(resource, make, admin), stored(resource, make, admin)
    asked: tuple[dict[str, Any], ...] = (
        {},
        {"resource_id": body["id"] + 1},
        {"resource_type": "imports"},
        {"resource_id__gte": 0},
        {"q": admin.user.username},
    )
    for query in asked:
        assert {each["resource_id"] for each in history(admin, path, **query)} <= {body["id"]}
        assert {each["resource_type"] for each in history(admin, path, **query)} <= {resource.name}
    assert history(admin, path, resource_id=body["id"] + 1) == []


@each_resource
def test_it_is_a_list_like_others(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    for name, value in list(another(resource, make, body).items())[:2]:
        admin.call("PATCH", path, json={name: value})
    whole = history(admin, path)
    assert history(admin, path, sort="-id") == whole[::-1]
    assert history(admin, path, action="update") == whole[1:]
    assert history(admin, path, fields="version") == [{"version": each["version"]} for each in whole]
    second = admin.call("GET", f"{path}/history", query_string={"page": 2, "page_size": 2})
    assert (second["data"], second["pagination"]["total"]) == (whole[2:], 3)
    walked = admin.call("GET", f"{path}/history", query_string={"cursor": "", "page_size": 2})
    further = {"cursor": walked["pagination"]["next_cursor"], "page_size": 2}
    assert history(admin, path, **further) == whole[2:]
    admin.call("GET", f"{path}/history", query_string={"nonsense": 1}, expect=400)


@each_resource
def test_nobody_learns_from_where_it_was_done(resource: Resource, make: Make, admin: Client, user: Client) -> None:
    """Neither by reading nor by asking."""
    path, _ = stored(resource, make, admin)
    client = user if user.send("GET", path, expect=(200, 403, 404)).status_code == 200 else admin
    for record in history(client, path):
        assert not set(HIDDEN) & set(record)
    for name in HIDDEN:
        for query in ({name: "x"}, {f"{name}__startswith": "1"}, {"sort": name}, {"fields": name}):
            client.call("GET", f"{path}/history", query_string=query, expect=400)
    assert history(client, path, q="127.0.0.1") == []


@each_public
def test_what_was_refused_is_for_administrators(resource: Resource, make: Make, admin: Client, user: Client) -> None:
    path, _ = stored(resource, make, admin)
    user.call("PATCH", path, json={}, expect=403)
    assert [each["action"] for each in history(admin, path)] == ["create", "denied"]
    if resource.read is Role.ADMIN:
        user.call("GET", f"{path}/history", expect=403)
        return
    assert [each["action"] for each in history(user, path)] == ["create"]
    assert history(user, path, action="denied") == []


@each_private
def test_it_is_as_private_as_the_object(
    resource: Resource, make: Make, admin: Client, user: Client, other: Client
) -> None:
    path, _ = stored(resource, make, user)
    other.call("GET", f"{path}/history", expect=404)
    assert len(history(user, path)) == len(history(admin, path)) == 1
    user.call("DELETE", path)
    other.call("GET", f"{path}/history", expect=404)
    user.call("GET", f"{path}/history", expect=404)


@each_resource
def test_administrators_read_the_history_of_what_is_deleted(
    resource: Resource, make: Make, admin: Client, user: Client
) -> None:
    path, _ = stored(resource, make, admin)
    admin.call("DELETE", path)
    deleted = history(admin, path, sort="-id")[0]
    assert deleted["action"] == "delete"
    assert deleted["snapshot"]
    user.call("GET", f"{path}/history", expect=404 if resource.read is Role.USER else 403)


@each_resource
@pytest.mark.parametrize("identity", ["987654321", "9223372036854775808", "x"])
def test_what_never_was_has_no_history(resource: Resource, identity: str, admin: Client) -> None:
    admin.call("GET", f"{resource.path}/{identity}/history", expect=404)
