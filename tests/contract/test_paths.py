"""Filters that reach through references find the objects whose related objects a list with the same filter finds."""

from typing import Any

import pytest

from app.containers.models import Container
from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu
from app.resource import Private
from app.resource.fields import fields_of
from app.resource.query.paths import open_references
from app.servers.models import Server
from app.services.models import Service
from tests.client import Client
from tests.contract.resources import RESOURCES
from tests.factories import RESOURCE_OF, Make


def names(client: Client, path: str, **query: Any) -> set[str]:
    listed = client.call("GET", f"/api/{path}", query_string={"sort": "id", **query})
    assert listed["pagination"]["total"] == len(listed["data"])
    walked = client.call("GET", f"/api/{path}", query_string={"sort": "id", "cursor": "", **query})
    assert walked["data"] == listed["data"]
    return {each.get("name") or each["model"] for each in listed["data"]}


@pytest.fixture
def site(make: Make) -> Datacenter:
    """Two sites with a server each, and on each server a container, GPUs, and services beside and in the container."""
    sites = [make(Datacenter, name=name, code=name) for name in ("SH-1", "BJ-1")]
    live = make(Environment, name="live")
    for site in sites:
        server = make(Server, name=f"n {site.name}", datacenter_id=site.id, environment_id=live.id, tags=[site.name])
        container = make(Container, name=f"c {site.name}", server_id=server.id, attributes={"site": site.name})
        make(Gpu, model=f"g {site.name}", server_id=server.id)
        make(Service, name=f"in {site.name}", container_id=container.id, server_id=None, status="unhealthy")
        make(Service, name=f"on {site.name}", server_id=server.id, container_id=None, status="unhealthy")
        make(Service, name=f"ok {site.name}", server_id=server.id, container_id=None, status="healthy")
    make(Container, name="unplaced")
    make(Server, name="nowhere")
    make(Service, name="in the unplaced", container_id=make(Container, name="alone").id, server_id=None)
    return sites[0]


def test_lists_reach_through_parents(site: Datacenter, user: Client) -> None:
    assert names(user, "gpus", **{"server.datacenter": "sh-1"}) == {"g SH-1"}
    assert names(user, "gpus", **{"server.datacenter_id": site.id}) == {"g SH-1"}
    assert names(user, "gpus", **{"server.datacenter.code": "SH-1"}) == {"g SH-1"}
    assert names(user, "gpus", **{"server.name__startswith": "n "}) == {"g SH-1", "g BJ-1"}
    assert names(user, "gpus", **{"server.datacenter__in": "SH-1,BJ-1"}) == {"g SH-1", "g BJ-1"}
    assert names(user, "gpus", **{"server.tags": "sh-1"}) == {"g SH-1"}
    assert names(user, "gpus", **{"server.status": "retired"}) == set()
    assert names(user, "gpus", **{"server.created_at__gte": "2020-01-01"}) == {"g SH-1", "g BJ-1"}
    assert names(user, "containers", **{"server.environment": "live"}) == {"c SH-1", "c BJ-1"}
    assert names(user, "servers", **{"datacenter.code": "BJ-1"}) == {"n BJ-1"}


def test_the_services_of_a_site(site: Datacenter, user: Client) -> None:
    unhealthy = {"status": "unhealthy", "server.datacenter": "SH-1"}
    assert names(user, "services", **unhealthy) == {"in SH-1", "on SH-1"}
    assert names(user, "services", **{"container.server.datacenter": "SH-1"}) == {"in SH-1"}
    assert names(user, "services", **{"container.attributes.site": "SH-1"}) == {"in SH-1"}
    other = {"on BJ-1", "in BJ-1", "ok BJ-1", "in the unplaced"}
    assert names(user, "services", **{"server.datacenter__ne": "SH-1"}) == other


def test_what_has_no_value(site: Datacenter, user: Client) -> None:
    assert names(user, "containers", **{"server.datacenter__isnull": "true"}) == {"unplaced", "alone"}
    assert names(user, "containers", **{"server.datacenter__isnull": "false"}) == {"c SH-1", "c BJ-1"}
    assert names(user, "containers", **{"server.datacenter__ne": "SH-1"}) == {"c BJ-1", "unplaced", "alone"}
    assert names(user, "services", **{"server.datacenter__isnull": "true"}) == {"in the unplaced"}


def test_a_change_of_a_related_object_shows_at_once(site: Datacenter, user: Client, admin: Client) -> None:
    query = {"server.datacenter.description": "moved"}
    for path in ("gpus", "services"):
        assert names(user, path, **query) == set()
    admin.call("PATCH", f"/api/datacenters/{site.id}", json={"description": "moved"})
    assert names(user, "gpus", **query) == {"g SH-1"}
    assert names(user, "services", **query) == {"in SH-1", "on SH-1", "ok SH-1"}


def test_bulk_and_export_take_them_too(site: Datacenter, user: Client, admin: Client) -> None:
    body = {"filter": {"server.datacenter": "SH-1"}, "set": {"description": "x"}, "expected_count": 1, "mode": "atomic"}
    admin.call("PATCH", "/api/gpus/bulk", json=body)
    assert names(user, "gpus", description="x") == {"g SH-1"}
    exported = user.send("GET", "/api/gpus/export?format=csv&server.datacenter=SH-1").data
    assert (b"g SH-1" in exported, b"g BJ-1" in exported) == (True, False)


@pytest.mark.parametrize(
    ("query", "nearest"),
    [
        ("server.datacentre=x", "server.datacenter"),
        ("server.datacenter__gt=x", None),
        ("sever.datacenter=x", "server."),
        ("server.=x", None),
        (".server=x", None),
        ("server..name=x", None),
        ("server.status=broken", None),
        ("server.memory_gb=many", None),
        ("server.page=1", None),
        ("assigned_to.email=x", None),
        ("created_by.username=x", None),
        ("server.created_by.email=x", None),
        ("server.datacenter.created_by.email=x", None),
    ],
)
def test_what_is_no_path_is_refused(user: Client, query: str, nearest: str | None) -> None:
    answer = user.call("GET", f"/api/gpus?{query}", expect=400)["data"]
    assert nearest is None or nearest in answer["did_you_mean"]


def test_no_path_leads_to_what_not_everybody_reads() -> None:
    for resource in RESOURCES:
        for name, field in open_references(resource).items():
            assert field.target is not None
            target = RESOURCE_OF[field.target]
            assert target.read is Role.USER, (resource.name, name)
            assert not issubclass(target.model, Private), (resource.name, name)
            # A path knows the model alone, and so could not leave out what a schema excludes.
            assert set(fields_of(target.model)) == set(target.fields), target.name
