"""A hand-written action that ends with `save` is refused as a PATCH is, and `where` narrows a list."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask

from app.catalog import CATALOG
from app.core.db.unit_of_work import act_in, db
from app.core.errors import ApiError
from app.core.http.access import Actor, Role, act_as
from app.core.http.envelope import failure_body
from app.resource import ListQuery, get, save, select_page
from app.servers.models import Server
from app.services.models import Service
from tests.client import Client
from tests.factories import ORIGIN, Make
from tests.spread import any_database

pytestmark = any_database

Change = Callable[[Any], None]


def refusal(app: Flask, name: str, object_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the answer to an action that sets these attributes and saves."""
    with app.test_request_context():
        act_in(ORIGIN)
        act_as(Actor(id=1, username="admin", role=Role.ADMIN))
        target = get(CATALOG[name], object_id, to_change=True)
        for attribute, value in values.items():
            setattr(target, attribute, value)
        with pytest.raises(ApiError) as raised:
            save(CATALOG[name], target)
        db.session.rollback()
        return failure_body(raised.value)


def test_a_value_that_is_taken(app: Flask, make: Make, admin: Client) -> None:
    make(Server, name="Web")
    other = make(Server, name="db")
    expected = admin.call("PATCH", f"/api/servers/{other.id}", json={"name": "ｗｅｂ"}, expect=409)
    assert refusal(app, "servers", other.id, {"name": "ｗｅｂ"}) == expected
    assert list(expected["data"]["errors"]) == ["name"]


def test_a_reference_to_nothing(app: Flask, make: Make, admin: Client) -> None:
    server = make(Server)
    expected = admin.call("PATCH", f"/api/servers/{server.id}", json={"datacenter_id": 999}, expect=422)
    assert refusal(app, "servers", server.id, {"datacenter_id": 999}) == expected


def test_a_rule_of_the_whole_object(app: Flask, make: Make, admin: Client) -> None:
    service = make(Service, server_id=make(Server).id, container_id=None)
    expected = admin.call("PATCH", f"/api/services/{service.id}", json={"server_id": None}, expect=422)
    assert refusal(app, "services", service.id, {"server_id": None}) == expected


def test_where_narrows_a_list(app: Flask, make: Make) -> None:
    for memory in (16, 64, 128):
        make(Server, name=f"n{memory}", memory_gb=memory)
    with app.test_request_context():
        act_as(Actor(id=1, username="admin", role=Role.ADMIN))
        page = select_page(CATALOG["servers"], ListQuery().where(memory_gb__gte=64).where(name=["N64", "n16"]))
    assert [item["name"] for item in page.items] == ["n64"]
