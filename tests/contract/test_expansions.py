"""`?with=can,children`: what the caller may do with an object, and how much is below it."""

from typing import Any

import pytest
from flask import Flask

from app.assets.models import Asset
from app.catalog import CATALOG
from app.containers.models import Container
from app.core.http.access import SAFE_METHODS
from app.gpus.models import Gpu
from app.resource import Resource
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Body, Client
from tests.conftest import SignIn, Statements
from tests.contract.resources import RESOURCES, each_resource
from tests.contract.test_access_table import INSIDE, TABLE, Scene, status_of
from tests.factories import Make
from tests.openapi import Document
from tests.spread import spread

pytestmark = spread

CALLERS = (*INSIDE, "second admin")
GENERATED = {"PATCH": "change", "PUT": "change", "DELETE": "delete"}


def writes_on_objects() -> list[tuple[str, str]]:
    """Method and route of every write on one object of the catalog."""
    return [
        (method, route)
        for method, route in TABLE
        if method not in SAFE_METHODS and any(route.startswith(f"{each.path}/{{") for each in RESOURCES)
    ]


@pytest.mark.parametrize(("method", "route"), writes_on_objects(), ids=lambda each: each)
def test_can_is_true_exactly_where_the_write_is_not_refused(
    method: str, route: str, app: Flask, document: Document, make: Make, sign_in: SignIn
) -> None:
    scene = Scene(app, document, make, sign_in)
    ability = GENERATED.get(method) if route.endswith("/{object_id}") else None
    ability = ability or document.spec["paths"][route][method.lower()]["operationId"]
    for kind in CALLERS:
        caller = scene.callers[kind]
        path, options = scene.request(method, route, caller)
        one = "/".join(path.split("/")[:4])
        shown = caller.call("GET", f"{one}?with=can", expect=(200, 403, 404))
        status = status_of(caller, method, path, options)
        if shown["code"]:
            assert status == shown["code"] or status == 403, kind
        else:
            assert shown["data"]["can"][ability] == (status != 403), kind


@each_resource
def test_can_names_all_that_is_described(resource: Resource, make: Make, admin: Client) -> None:
    described = meta(admin, resource)
    can = admin.call("GET", f"{resource.path}/{make(resource.model).id}?with=can")["data"]["can"]
    assert set(can) == {"change", "delete", *(action["operation"] for action in described["actions"])}
    assert can["change"] is can["delete"] is True


def test_nobody_can_delete_or_deactivate_themselves(admin: Client) -> None:
    can = admin.call("GET", f"/api/users/{admin.user.id}?with=can")["data"]["can"]
    assert (can["change"], can["delete"], can["deactivateUser"]) == (True, False, False)
    admin.call("DELETE", f"/api/users/{admin.user.id}", expect=403)
    admin.call("POST", f"/api/users/{admin.user.id}/deactivate", json={}, expect=403)


def test_a_gpu_is_released_by_its_holder(make: Make, user: Client, other: Client, admin: Client) -> None:
    gpu = f"/api/gpus/{make(Gpu, status='available').id}"

    def abilities(client: Client) -> tuple[bool, bool]:
        can = client.call("GET", f"{gpu}?with=can")["data"]["can"]
        return can["assignGpu"], can["releaseGpu"]

    assert [abilities(client) for client in (user, other, admin)] == [(True, False)] * 3
    user.call("POST", f"{gpu}/assign", json={"user_id": user.user.id})
    assert [abilities(client) for client in (user, other, admin)] == [(False, True), (False, False), (False, True)]


@each_resource
def test_children_are_as_many_as_their_lists_answer(
    resource: Resource, make: Make, user: Client, admin: Client
) -> None:
    parent, empty = (make(resource.model, created_by_id=user.user.id) for _ in range(2))
    fields = [(CATALOG[child["resource"]], child["field"]) for child in meta(admin, resource)["children"]]
    for position, (child, field) in enumerate(fields, 1):
        for k in range(position):
            make(child.model, **{field: parent.id}, created_by_id=(admin if k else user).user.id)
    for client in (admin, user) if resource.name != "users" else (admin,):
        expected: dict[str, int] = {child.name: 0 for child, _ in fields}
        for child, field in fields:
            listed = client.call("GET", child.path, query_string={field: parent.id})
            expected[child.name] += listed["pagination"]["total"]
        assert client.call("GET", f"{resource.path}/{parent.id}?with=children")["data"]["children"] == expected
        none = client.call("GET", f"{resource.path}/{empty.id}?with=children")["data"]["children"]
        assert none == dict.fromkeys(expected, 0)


def test_children_that_are_private_count_for_their_owner(make: Make, user: Client, other: Client) -> None:
    server = make(Server)
    make(Task, server_id=server.id, created_by_id=user.user.id)
    path = f"/api/servers/{server.id}?with=children"
    assert [client.call("GET", path)["data"]["children"]["tasks"] for client in (user, other)] == [1, 0]


@each_resource
def test_a_list_says_the_same_of_each_object(resource: Resource, make: Make, admin: Client) -> None:
    for k in range(3):
        make.varied(resource.model, k)
    expanded = admin.call("GET", f"{resource.path}?with=children&with=can&sort=id")["data"]
    plain = admin.call("GET", f"{resource.path}?sort=id")["data"]
    for item, fields in zip(expanded, plain, strict=True):
        one: Body = admin.call("GET", f"{resource.path}/{item['id']}?with=can,children")["data"]
        assert item == one
        assert fields == {name: value for name, value in one.items() if name not in ("can", "children")}


def test_a_list_of_some_fields_has_them_and_what_was_asked_for(make: Make, user: Client) -> None:
    make(Server, name="n1", created_by_id=user.user.id)
    query = {"fields": "name", "with": "can", "name": "n1", "total": "none"}
    (item,) = user.call("GET", "/api/servers", query_string=query)["data"]
    assert item == {"name": "n1", "can": {"change": True, "delete": True}}


def test_a_page_costs_no_statement_for_each_object(make: Make, admin: Client, statements: Statements) -> None:
    def cost() -> int:
        with statements() as sent:
            admin.call("GET", "/api/servers?with=can,children&total=none")
        return len(sent)

    make(Server)
    first = cost()
    for _ in range(5):
        make(Container, server_id=make(Server).id)
    assert cost() == first


@pytest.mark.parametrize("path", ["/api/servers", "/api/servers/{id}"])
def test_an_unknown_name_is_refused_with_the_nearest(path: str, make: Make, admin: Client) -> None:
    path = path.format(id=make(Server).id)
    refused = admin.call("GET", path, query_string={"with": "can,childern"}, expect=400)["data"]
    assert (refused["reason"], refused["did_you_mean"]) == ("unknown_expansion", ["children"])
    admin.call("GET", path, query_string={"with": ""}, expect=400)


def test_the_past_has_no_expansions(make: Make, admin: Client) -> None:
    path = f"/api/servers/{make(Server).id}"
    admin.call("GET", path, query_string={"with": "can", "as_of": "2026-01-31"}, expect=400)


def test_only_objects_and_lists_have_expansions(make: Make, admin: Client) -> None:
    for path in ("/api/servers/tree", "/api/servers/export", "/api/audit-logs"):
        admin.call("GET", path, query_string={"with": "can"}, expect=400)
    admin.call("PATCH", f"/api/servers/{make(Server).id}?with=can", json={}, expect=400)


def test_a_304_is_not_answered_where_they_have_changed(make: Make, user: Client, admin: Client) -> None:
    asset = make(Asset, created_by_id=user.user.id)
    path = f"/api/assets/{asset.id}?with=can,children"

    def again(client: Client, seen: Any, expect: int) -> Any:
        return client.send("GET", path, headers={"If-None-Match": seen}, expect=expect).headers["ETag"]

    seen = user.send("GET", path).headers["ETag"]
    assert again(user, seen, 304) == seen
    version = user.send("GET", path.partition("?")[0]).headers["ETag"]
    again(user, version, 200)
    make(Task, asset_id=asset.id, created_by_id=user.user.id)
    later = again(user, seen, 200)
    admin.call("POST", f"/api/users/{user.user.id}/transfer", json={"to": admin.user.id})
    last = again(user, later, 200)
    assert again(user, last, 304) == last


def meta(client: Client, resource: Resource) -> Body:
    described = client.call("GET", "/api/meta")["data"]["resources"]
    one: Body = next(each for each in described if each["name"] == resource.name)
    return one
