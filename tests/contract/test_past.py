"""Every single object as it was: in the shape, and with all that was said, of the answers of then."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.core.values import as_json
from app.resource import Resource
from app.resource.fields import default_of
from tests.client import Body, Client
from tests.contract.resources import each_resource, varied_rows
from tests.contract.test_restore import latest, undo
from tests.contract.test_versions import another, stored
from tests.factories import Make
from tests.spread import spread

pytestmark = spread


def then(path: str, at: str, admin: Client, *, expect: int = 200) -> Body:
    body: Body = admin.call("GET", path, query_string={"as_of": at}, expect=expect)["data"]
    return body


def known(resource: Resource, item: Body) -> Body:
    """An object without what is bookkeeping, which leaves no record: null, or the default of what is never null."""
    fields = resource.fields.items()
    unknown = {name: field.column for name, field in fields if field.column.info.get("audit") is False}
    return {**item, **{name: None if column.nullable else default_of(column) for name, column in unknown.items()}}


@each_resource
def test_each_version_is_what_was_answered_then(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    answers = [body]
    for name, value in another(resource, make, body).items():
        answers.append(admin.call("PATCH", path, json={name: value})["data"])
    names = [name for name in resource.references if name != "created_by"]
    for answered in answers:
        shown = then(path, answered["updated_at"], admin)
        # What is referred to is called what it was called then, which is what it was called in the answer.
        assert shown == known(resource, answered), answered["version"]
    assert all(name in body for name in names)
    response = admin.send("GET", path, query_string={"as_of": body["updated_at"]})
    # The past has no version to change.
    assert response.headers["ETag"] not in {f'"{answered["version"]}"' for answered in answers}


@each_resource
def test_now_is_as_it_is(resource: Resource, make: Make, admin: Client) -> None:
    for row in varied_rows(resource, 4, make, admin):
        shown = then(f"{resource.path}/{row['id']}", as_json(datetime.now(UTC)), admin)
        assert shown == known(resource, row)


@each_resource
def test_before_and_after_its_life_it_is_not_there(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    before = as_json(datetime.fromisoformat(body["created_at"]) - timedelta(microseconds=1))
    assert then(path, before, admin, expect=404)["reason"] == "not_found"
    admin.call("DELETE", path)
    deletion = latest(resource, body["id"], admin)
    assert then(path, body["created_at"], admin) == known(resource, body)
    then(path, deletion["created_at"], admin, expect=404)
    undo(deletion, admin)
    then(path, deletion["created_at"], admin, expect=404)
    back = admin.call("GET", path)["data"]
    assert then(path, back["updated_at"], admin) == known(resource, back)


@each_resource
def test_the_past_is_no_more_visible_than_the_present(
    resource: Resource, make: Make, admin: Client, user: Client
) -> None:
    path, body = stored(resource, make, admin)
    now = user.send("GET", path, expect=(200, 403, 404)).status_code
    past = user.send("GET", path, query_string={"as_of": body["created_at"]}, expect=(200, 403, 404)).status_code
    assert past == now


def test_objects_are_called_what_they_were_called(make: Make, admin: Client) -> None:
    site = admin.call("POST", "/api/datacenters", json={"name": "Old"}, expect=201)["data"]
    server = {"name": "s", "datacenter_id": site["id"]}
    created = admin.call("POST", "/api/servers", json=server, expect=201)["data"]
    admin.call("PATCH", f"/api/datacenters/{site['id']}", json={"name": "New"})
    path = f"/api/servers/{created['id']}"
    assert then(path, created["created_at"], admin)["datacenter"] == {"id": site["id"], "name": "Old"}
    assert admin.call("GET", path)["data"]["datacenter"]["name"] == "New"
    admin.call("DELETE", f"{path}?cascade=true")
    admin.call("DELETE", f"/api/datacenters/{site['id']}")
    assert then(path, created["created_at"], admin)["datacenter"] == {"id": site["id"], "name": "Old"}


@pytest.mark.parametrize("at", ["2999-01-01T00:00:00Z", "yesterday", "", "2026-01-01T00:00:00", "9" * 400])
def test_what_is_no_time_that_has_come_is_refused(at: str, make: Make, admin: Client) -> None:
    admin.call("POST", "/api/environments", json={"name": "e"}, expect=201)
    for path in ("/api/environments/1", "/api/servers/tree"):
        assert then(path, at, admin, expect=400)["reason"] == "invalid_parameter"


def test_a_date_stands_for_its_end(admin: Client) -> None:
    created = admin.call("POST", "/api/servers", json={"name": "made"}, expect=201)["data"]
    path, day = f"/api/servers/{created['id']}", date.fromisoformat(created["created_at"][:10])
    assert then(path, str(day), admin)["name"] == "made"
    then(path, str(day - timedelta(1)), admin, expect=404)
    then(path, str(day + timedelta(2)), admin, expect=400)


def test_nothing_else_may_be_asked(admin: Client) -> None:
    admin.call("GET", "/api/servers/1?as_off=2026-01-01", expect=400)


def test_the_tree_as_it_was(app: Flask, make: Make, admin: Client) -> None:
    def tree(**query: Any) -> Body:
        return admin.call("GET", "/api/servers/tree", query_string={"level": 3, **query})

    one, two = (admin.call("POST", "/api/servers", json={"name": n}, expect=201)["data"]["id"] for n in ("a", "b"))
    placed = [
        admin.call("POST", "/api/containers", json={"name": f"c{n}", "server_id": one}, expect=201)["data"]["id"]
        for n in range(3)
    ]
    inside = {"name": "web", "container_id": placed[0]}
    service = admin.call("POST", "/api/services", json=inside, expect=201)["data"]["id"]
    admin.call("POST", "/api/services", json={"name": "direct", "server_id": two}, expect=201)
    gpu = admin.call("POST", "/api/gpus", json={"model": "T4", "server_id": one, "slot": 0}, expect=201)["data"]
    # It was elsewhere before, and that is over.
    admin.call("PATCH", f"/api/containers/{placed[2]}", json={"server_id": two})
    before = tree()
    at = as_json(datetime.now(UTC))

    admin.call("PATCH", f"/api/servers/{one}", json={"name": "renamed"})
    admin.call("PATCH", f"/api/containers/{placed[1]}", json={"server_id": two})
    admin.call("PATCH", f"/api/services/{service}", json={"container_id": placed[2]})
    admin.call("DELETE", f"/api/gpus/{gpu['id']}")
    admin.call("POST", "/api/gpus", json={"model": "A10", "server_id": one, "slot": 0}, expect=201)
    admin.call("DELETE", f"/api/servers/{two}?cascade=true")
    admin.call("POST", "/api/servers", json={"name": "c"}, expect=201)

    assert tree(as_of=at) == before
    assert tree(as_of=at, id=two)["data"] == [node for node in before["data"] if node["id"] == two]
    assert [node["id"] for node in tree(as_of=at, page_size=1, page=2)["data"]] == [two]
    assert tree(as_of=at, total="none")["pagination"]["total"] is None
    first = admin.call("GET", "/api/servers/tree", query_string={"as_of": at})["data"]
    assert [set(node) & {"containers", "gpus", "services"} for node in first] == [set(), set()]
    assert tree(as_of="2020-01-01")["data"] == []
    for other in ({"name": "a"}, {"sort": "name"}, {"cursor": ""}, {"id__gt": 1}, {"q": "a"}):
        admin.call("GET", "/api/servers/tree", query_string={"as_of": at, **other}, expect=400)
