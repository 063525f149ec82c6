"""Names that exist only as data, of attributes and related objects: a misspelt one is refused with the nearest."""

from typing import Any

import pytest

from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.resource import Resource
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.contract.resources import RESOURCES
from tests.contract.test_filters import filtered_ids
from tests.contract.test_merges import each_extensible
from tests.factories import Make
from tests.spread import any_database

pytestmark = any_database


def refused(client: Client, resource: Resource, **query: Any) -> Body:
    data: Body = client.call("GET", resource.path, query_string=query, expect=400)["data"]
    return data


def attribute(key: str, operator: str = "") -> str:
    return f"attributes.{key}__{operator}" if operator else f"attributes.{key}"


def nearest(data: Body) -> tuple[str, list[str]]:
    """The reason of a refusal, and the names that it suggests."""
    return data["reason"], data["did_you_mean"]


@each_extensible
def test_an_attribute_that_no_object_has(resource: Resource, make: Make, admin: Client) -> None:
    name = attribute("memory")
    assert nearest(refused(admin, resource, **{name: "1"})) == ("unknown_attribute", [])
    path = f"{resource.path}/{make(resource.model, attributes={'memory size': 16, 'a__b': 1, 'Qos': 'LS'}).id}"
    wrong = ("unknown_attribute", ["attributes.memory size"])
    for query in ({name: "1"}, {attribute("memory", "ne"): "1"}, {attribute("memory", "isnull"): "true"}):
        assert nearest(refused(admin, resource, **query)) == wrong
    assert nearest(refused(admin, resource, sort=f"-{name}")) == wrong
    assert refused(admin, resource, **{attribute("qos"): "LS"})["did_you_mean"] == ["attributes.Qos"]
    assert refused(admin, resource, **{attribute("Qos", "gtt"): "1"})["reason"] == "unknown_operator"
    assert len(filtered_ids(resource, admin, {attribute("a__b"): "1"})) == 1
    assert len(filtered_ids(resource, admin, {attribute("a__b", "gte"): "1"})) == 1
    body = {"filter": {name: 1}, "set": {"attributes": {}}, "expected_count": 0}
    assert nearest(admin.call("PATCH", f"{resource.path}/bulk", json=body, expect=400)["data"]) == wrong
    export = admin.call("GET", f"{resource.path}/export", query_string={name: "1"}, expect=400)
    assert nearest(export["data"]) == wrong
    # What was known is forgotten with the last object that has it, and what is new is known at once.
    assert filtered_ids(resource, admin, {attribute("Qos"): "LS"}) != []
    admin.call("PATCH", path, json={"attributes": {"Qos": None, "qos": "LS"}})
    assert refused(admin, resource, **{attribute("Qos"): "LS"})["did_you_mean"] == ["attributes.qos"]
    assert filtered_ids(resource, admin, {attribute("qos"): "LS"}) != []


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.name)
def test_a_related_name_that_does_not_exist(resource: Resource, make: Make, admin: Client) -> None:
    for name, field in resource.references.items():
        assert field.target is not None
        related = make(field.target)
        label = str(getattr(related, field.target.label))
        for query in ({name: f"{label}x"}, {f"{name}__ne": [label, f"{label}x"]}, {f"{name}__in": f"{label},{label}x"}):
            data = refused(admin, resource, **query)
            assert (data["reason"], label in data["did_you_mean"]) == ("unknown_name", True), query
        # That it exists is enough; part of a name may be of none.
        admin.call("GET", resource.path, query_string={name: label.upper()})
        assert filtered_ids(resource, admin, {f"{name}__contains": "nobody has this"}) == []


def test_who_may_not_list_users_learns_no_name(make: Make, user: Client, sign_in: SignIn) -> None:
    hidden = sign_in(username="hidden.person")
    for name in ("hidden.persn", "hidden.person"):
        data = user.call("GET", f"/api/servers?created_by={name}", expect=400)["data"]
        assert data.pop("parameters")["given"] == name
        assert data.pop("errors").keys() == data.pop("problems").keys() == {"created_by"}
        assert data == {"reason": "unknown_name", "did_you_mean": []}
    make(Server, created_by_id=hidden.user.id)
    assert user.call("GET", "/api/servers?created_by=Hidden.Person")["pagination"]["total"] == 1
    data = user.call("GET", "/api/servers?created_by=hidden.persn", expect=400)["data"]
    assert data["did_you_mean"] == ["hidden.person"]
    # Somebody else's task is no reason to know its owner.
    make(Task, created_by_id=sign_in(username="owner.of.a.task").user.id)
    data = user.call("GET", "/api/tasks?created_by=owner.of.a.task", expect=400)["data"]
    assert nearest(data) == ("unknown_name", [])
    administrator = sign_in(role=Role.ADMIN)
    assert administrator.call("GET", "/api/gpus?assigned_to=hidden.person")["data"] == []


def test_a_name_that_is_new_is_known_at_once(make: Make, admin: Client) -> None:
    make(Gpu)
    admin.call("GET", "/api/servers?datacenter=SH-1", expect=400)
    datacenter = make(Datacenter, name="SH-1")
    assert admin.call("GET", "/api/servers?datacenter=sh-1")["data"] == []
    admin.call("DELETE", f"/api/datacenters/{datacenter.id}")
    admin.call("GET", "/api/servers?datacenter=SH-1", expect=400)
