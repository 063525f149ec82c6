"""Dry runs, and deleting with all that is under an object."""

from typing import Any

import pytest

from app.containers.models import Container
from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.resource import Resource
from app.servers.models import Server
from app.services.models import Service
from tests.client import Body, Client
from tests.conftest import SignIn, Statements
from tests.contract.resources import each_resource
from tests.factories import Make
from tests.spread import spread

pytestmark = spread

DRY = {"dry_run": "true"}


def records(admin: Client) -> int:
    total: int = admin.call("GET", "/api/audit-logs")["pagination"]["total"]
    return total


@each_resource
def test_a_dry_run_answers_like_the_write_and_stores_nothing(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model)
    before, count = records(admin), admin.call("GET", resource.path)["pagination"]["total"]
    body = make.body(resource)
    before = records(admin)
    count = admin.call("GET", resource.path)["pagination"]["total"]
    created = admin.send("POST", resource.path, query_string=DRY, json=body, expect=201)
    assert "Location" not in created.headers
    path = f"{resource.path}/{target.id}"
    shown = admin.call("GET", path)["data"]
    label = resource.model.label
    changed = admin.call("PATCH", path, query_string=DRY, json={label: body[label]})["data"]
    assert (changed[label], changed["version"]) == (body[label], 2)
    removed = admin.call("DELETE", path, query_string=DRY)["data"]
    assert removed["counts"] == {resource.name: 1}
    assert removed["objects"] == [{"type": resource.name, "id": target.id, "name": shown[label]}]
    assert admin.call("GET", path)["data"] == shown
    assert records(admin) == before
    assert admin.call("GET", resource.path)["pagination"]["total"] == count


@each_resource
def test_a_dry_run_meets_the_same_refusals(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model)
    admin.call("POST", resource.path, query_string=DRY, json={"bogus": 1}, expect=422)
    path = f"{resource.path}/{target.id}"
    admin.call("PATCH", path, query_string=DRY, json={}, headers={"If-Match": '"7"'}, expect=412)
    admin.call("DELETE", f"{resource.path}/{2**40}", query_string=DRY, expect=404)
    admin.call("DELETE", path, query_string={"dry_run": "perhaps"}, expect=400)
    admin.call("DELETE", path, query_string={"cascde": "true"}, expect=400)


def estate(make: Make, servers: int) -> Datacenter:
    """A datacenter with servers, each with a GPU, a container, and a service in and beside it."""
    place = make(Datacenter)
    for _ in range(servers):
        server = make(Server, datacenter_id=place.id)
        make(Gpu, server_id=server.id)
        container = make(Container, server_id=server.id)
        make(Service, container_id=container.id)
        make(Service, server_id=server.id)
    return place


def test_a_cascade_takes_everything_under_an_object_along(make: Make, admin: Client) -> None:
    used_datacenter = estate(make, 1)
    place = estate(make, 2)
    path = f"/api/datacenters/{place.id}"
    refused = admin.call("DELETE", path, expect=409)["data"]
    assert (refused["reason"], refused["children"]) == ("has_children", {"servers": 2})
    in_chinese = admin.call("DELETE", path, expect=409, headers={"Accept-Language": "zh"})
    assert in_chinese["message"] == "该对象下面还有：服务器（2）。"
    counts = {"datacenters": 1, "servers": 2, "containers": 2, "gpus": 2, "services": 4}
    preview = admin.call("DELETE", path, query_string={**DRY, "cascade": "true"})["data"]
    assert preview["counts"] == counts
    assert len(preview["objects"]) == sum(counts.values())
    headers = {"X-Request-ID": "the-great-clearance"}
    assert admin.call("DELETE", path, query_string={"cascade": "true"}, headers=headers)["data"] is None
    query = {"request_id": "the-great-clearance", "page_size": 100}
    deleted: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert {record["action"] for record in deleted} == {"delete"}
    actual_counts: dict[str, int] = {}
    for record in deleted:
        actual_counts[record["resource_type"]] = actual_counts.get(record["resource_type"], 0) + 1
        assert record["snapshot"]["id"] == record["resource_id"]
        assert record["version"] == record["snapshot"]["version"] + 1
    assert actual_counts == counts
    admin.call("GET", path, expect=404)
    left = admin.call("GET", "/api/servers/tree", query_string={"level": 3})["data"]
    assert [server["datacenter_id"] for server in left] == [used_datacenter.id]
    assert len(left[0]["services"]) == len(left[0]["gpus"]) == len(left[0]["containers"]) == 1


def test_who_made_or_holds_something_is_no_parent_of_it(make: Make, admin: Client, sign_in: SignIn) -> None:
    owner = sign_in(role=Role.USER)
    owner.call("POST", "/api/servers", json={"name": "mine"}, expect=201)
    path = f"/api/users/{owner.user.id}"
    refused = admin.call("DELETE", path, query_string={"cascade": "true"}, expect=409)
    assert refused["data"]["children"] == {"servers": 1}


def test_a_cascade_stops_at_what_belongs_to_somebody_else(make: Make, user: Client, admin: Client) -> None:
    server = user.call("POST", "/api/servers", json={"name": "mine"}, expect=201)["data"]
    own = {"name": "my pod", "server_id": server["id"]}
    user.call("POST", "/api/containers", json=own, expect=201)
    path = f"/api/servers/{server['id']}"
    theirs = {"name": "their pod", "server_id": server["id"]}
    admin.call("POST", "/api/containers", json=theirs, expect=201)
    answer = user.call("DELETE", path, query_string={"cascade": "true"}, expect=403)
    assert answer["data"]["reason"] == "not_owner"
    assert user.call("GET", "/api/containers")["pagination"]["total"] == 2


@pytest.mark.parametrize("cascade", ["true"])
def test_the_statements_of_a_cascade_do_not_depend_on_its_size(
    cascade: str, make: Make, admin: Client, statements: Statements
) -> None:
    def sent_for(place: Any) -> int:
        with statements() as sent:
            admin.call("DELETE", f"/api/datacenters/{place.id}", query_string={"cascade": cascade})
        # MySQL sets how long a transaction waits by a statement, where its connection last served something else.
        return len([statement for statement in sent if not statement.startswith("SET ")])

    small, large = estate(make, 1), estate(make, 5)
    assert sent_for(small) == sent_for(large)
