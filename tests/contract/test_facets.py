"""Facets: the values of a field with the number of objects that have each, as the filters of the list count them."""

from typing import Any

import pytest

from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.resource import Resource
from app.resource.fields import Kind
from app.resource.query import facets
from app.resource.query.facets import MAX_FACETS, MAX_VALUES, facet_fields
from app.servers.models import Server
from app.tasks.models import Task
from tests.backends import on_postgresql
from tests.client import Client
from tests.conftest import Statements
from tests.contract.resources import each_resource, varied_rows
from tests.factories import Make
from tests.spread import spread

pytestmark = spread


def counts(client: Client, path: str, field: str, **query: Any) -> dict[Any, int]:
    facet = client.call("GET", f"/api/{path}/facets", query_string={"fields": field, **query})["data"][field]
    assert not facet["more"]
    return {each["value"]: each["count"] for each in facet["values"]}


@each_resource
def test_each_number_is_that_of_the_list(resource: Resource, make: Make, admin: Client) -> None:
    varied_rows(resource, 5, make, admin)
    for name, field in facet_fields(resource).items():
        if field.kind is Kind.ATTRIBUTES:
            continue
        for value, count in counts(admin, resource.name, name).items():
            parameter = f"{field.name}__isnull" if value is None else field.name
            text = "true" if value is None else str(value).lower() if isinstance(value, bool) else value
            listed = admin.call("GET", resource.path, query_string={parameter: text})
            assert listed["pagination"]["total"] == count, (name, value)


def test_the_filters_hold_but_the_own_one(make: Make, user: Client) -> None:
    site = make(Datacenter, name="SH-1")
    for status, tags in (("active", ["a", "b"]), ("active", ["A"]), ("offline", [])):
        make(Server, status=status, tags=tags, datacenter_id=site.id, attributes={"qos": "LS"})
    make(Server, status="active", tags=["b"], attributes={"zone": 1})
    assert counts(user, "servers", "status") == {"active": 3, "offline": 1}
    assert counts(user, "servers", "status", status="offline") == {"active": 3, "offline": 1}
    assert counts(user, "servers", "status", datacenter="SH-1") == {"active": 2, "offline": 1}
    assert counts(user, "servers", "datacenter", datacenter_id=site.id, status="active") == {site.id: 2, None: 1}
    assert counts(user, "servers", "tags", status="active") == {"A": 2, "b": 2}
    assert counts(user, "servers", "attributes") == {"qos": 3, "zone": 1}
    assert counts(user, "servers", "attributes.qos", **{"attributes.qos": "LS"}) == {"LS": 3, None: 1}
    assert counts(user, "servers", "datacenter", datacenter__isnull="true", q="LS") == {site.id: 3}
    named = user.call("GET", "/api/servers/facets?fields=datacenter,status")["data"]
    assert list(named) == ["datacenter", "status"]
    assert {"value": site.id, "name": "SH-1", "count": 3} in named["datacenter"]["values"]


def test_a_filter_on_a_longer_name_is_another_field_s(make: Make, user: Client) -> None:
    make(Server, attributes={"rack": "A", "rack_id": 1, "rack__x": "p"})
    make(Server, attributes={"rack": "B", "rack_id": 2, "rack__x": "q"})
    for parameter, text in (("attributes.rack_id", 1), ("attributes.rack__x", "p")):
        assert counts(user, "servers", "attributes.rack", **{parameter: text}) == {"A": 1}
    assert counts(user, "servers", "attributes.rack", **{"attributes.rack__ne": "A"}) == {"A": 1, "B": 1}


def test_a_facet_ends_somewhere(make: Make, user: Client) -> None:
    for n in range(MAX_VALUES + 1):
        make(Datacenter, name=f"site {n}")
    facet = user.call("GET", "/api/datacenters/facets?fields=name")["data"]["name"]
    assert (len(facet["values"]), facet["more"]) == (MAX_VALUES, True)


def test_counting_ends_somewhere(make: Make, user: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the numbers are kept, or the request asks for exact ones."""
    monkeypatch.setattr(facets, "MAX_OBJECTS", 2)
    facets._statement.cache_clear()
    for owner in ("a", "b", "c"):
        make(Server, owner=owner, tags=["x", "y"], attributes={"qos": "LS"})
    for field in ("owner", "tags", "attributes", "attributes.qos"):
        query = f"/api/servers/facets?fields={field}"
        facet, exact = (user.call("GET", f"{query}{total}")["data"][field] for total in ("", "&total=exact"))
        assert (facet["at_least"], exact["at_least"]) == (True, False)
        assert max(each["count"] for each in facet["values"]) <= 3
        assert max(each["count"] for each in exact["values"]) == (1 if field == "owner" else 3)
    user.call("GET", "/api/servers/facets?fields=owner&total=none", expect=400)
    facets._statement.cache_clear()


@on_postgresql
def test_numbers_that_are_kept_are_not_counted(make: Make, user: Client, statements: Statements) -> None:
    site, server = make(Datacenter, name="SH-1"), make(Server)
    make(Server, datacenter_id=site.id, status="offline", server_type="virtual")
    make(Gpu, server_id=server.id, model="H100")
    with statements() as sent:
        assert counts(user, "servers", "status", datacenter="sh-1", server_type="virtual") == {"offline": 1}
        assert counts(user, "servers", "datacenter", status__ne="active") == {site.id: 1}
        assert counts(user, "servers", "datacenter", datacenter__isnull="true", status__in="active,offline") == {
            None: 1,
            site.id: 1,
        }
        assert counts(user, "gpus", "model", status="available", model__contains="x") == {"H100": 1}
        assert counts(user, "gpus", "status", model="h100") == {"available": 1}
        assert counts(user, "gpus", "status", model__contains="10") == {"available": 1}
    assert not [each for each in sent if "FROM servers" in each or "FROM gpus" in each]
    with statements() as sent:
        assert counts(user, "servers", "status", name__contains="x") == {}
    assert [each for each in sent if "FROM servers" in each]


def test_private_objects_are_not_counted(make: Make, user: Client, other: Client, admin: Client) -> None:
    make(Task, title="mine", created_by_id=user.user.id)
    make(Task, title="another's", created_by_id=other.user.id)
    for _ in range(2):
        assert counts(user, "tasks", "title") == {"mine": 1}
        assert counts(other, "tasks", "title") == {"another's": 1}
    assert counts(admin, "tasks", "title") == {"mine": 1, "another's": 1}


def test_a_change_shows_at_once(make: Make, user: Client, admin: Client) -> None:
    site = make(Datacenter, name="SH-1")
    server = make(Server, datacenter_id=site.id)
    assert counts(user, "servers", "datacenter") == {site.id: 1}
    admin.call("PATCH", f"/api/datacenters/{site.id}", json={"name": "SH-2"})
    values = user.call("GET", "/api/servers/facets?fields=datacenter")["data"]["datacenter"]["values"]
    assert values == [{"value": site.id, "name": "SH-2", "count": 1}]
    admin.call("DELETE", f"/api/servers/{server.id}")
    assert counts(user, "servers", "datacenter") == {}


def test_what_is_wrong_is_refused(make: Make, user: Client) -> None:
    make(Server, attributes={"qos": "LS"})
    for query, nearest in (
        ("fields=statsu", ["status"]),
        ("fields=attributes.qoss", ["attributes.qos"]),
        ("fields=status&sttus=active", ["status"]),
        ("", None),
        ("fields=", None),
        ("fields=status,status", None),
        ("fields=created_at", None),
        ("fields=status&page=1", None),
        ("fields=status&status=broken", None),
        (f"fields={','.join('x' * n for n in range(1, MAX_FACETS + 2))}", None),
    ):
        data = user.call("GET", f"/api/servers/facets?{query}", expect=400)["data"]
        assert nearest is None or set(nearest) <= set(data["did_you_mean"]), query


def test_one_statement_a_field(make: Make, user: Client, statements: Statements) -> None:
    make(Server)
    with statements() as alone:
        user.call("GET", "/api/servers/facets?fields=status")
    with statements() as several:
        user.call("GET", "/api/servers/facets?fields=server_type,datacenter,tags")
    assert len(several) == len(alone) + 2
