"""`GET /api/servers/tree`: levels, filters and paging of the list, and the tree as of a time."""

from typing import Any

import pytest

from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.servers.models import Server
from app.services.models import Service
from tests.client import Body, Client
from tests.conftest import Statements
from tests.factories import Make

PATH = "/api/servers/tree"


def tree(client: Client, **query: Any) -> list[Body]:
    data: list[Body] = client.call("GET", PATH, query_string=query)["data"]
    return data


def make_tree(make: Make, **fields: Any) -> Server:
    """A server with two containers, a GPU, a service in each container and one of its own."""
    server = make(Server, **fields)
    for name in ("one", "two"):
        container = make(Container, name=name, server_id=server.id)
        make(Service, name=f"in {name}", container_id=container.id, server_id=None)
    make(Service, name="direct", server_id=server.id, container_id=None)
    make(Gpu, server_id=server.id, model="H100")
    return server


def test_a_server_has_exactly_its_own_children(make: Make, user: Client) -> None:
    server, bare = make_tree(make), make(Server)
    make(Container, server_id=None)
    first, second = tree(user, level=3, sort="id")
    assert (first["id"], second["id"]) == (server.id, bare.id)
    assert [container["name"] for container in first["containers"]] == ["one", "two"]
    assert [[item["name"] for item in container["services"]] for container in first["containers"]] == [
        ["in one"],
        ["in two"],
    ]
    assert [service["name"] for service in first["services"]] == ["direct"]
    assert [gpu["model"] for gpu in first["gpus"]] == ["H100"]
    assert (second["containers"], second["gpus"], second["services"]) == ([], [], [])


def test_each_level_adds_one(make: Make, user: Client) -> None:
    make_tree(make)
    (listed,) = user.call("GET", "/api/servers")["data"]
    (one,), (two,), (three,) = (tree(user, level=level) for level in (1, 2, 3))
    assert one == listed == tree(user)[0]
    assert set(two) - set(one) == {"containers", "gpus"}
    assert set(three) - set(two) == {"services"}
    assert "services" not in two["containers"][0]


def test_an_object_in_the_tree_is_the_object(make: Make, user: Client) -> None:
    make_tree(make)
    (node,) = tree(user, level=3)
    for kind, inner in (
        ("containers", node["containers"][0]),
        ("gpus", node["gpus"][0]),
        ("services", node["services"][0]),
        ("services", node["containers"][0]["services"][0]),
    ):
        alone = user.call("GET", f"/api/{kind}/{inner['id']}")["data"]
        assert {name: inner[name] for name in alone} == alone


def test_filters_sorting_and_paging_are_those_of_the_list(make: Make, user: Client) -> None:
    place = make(Datacenter, name="SH-1")
    for number in range(4):
        make_tree(make, name=f"node-{number}", datacenter_id=place.id if number else None)
    for query in (
        {"datacenter": "SH-1", "sort": "-name"},
        {"q": "node-2"},
        {"page": 2, "page_size": 3, "sort": "name"},
        {"total": "none", "page_size": 1},
        {"name__startswith": "node", "sort": "-id", "cursor": "", "page_size": 2},
        {"page": 99},
    ):
        listed = user.call("GET", "/api/servers", query_string=query)
        grown = user.call("GET", PATH, query_string={**query, "level": 2})
        assert grown["pagination"] == listed["pagination"]
        assert [node["id"] for node in grown["data"]] == [row["id"] for row in listed["data"]]
        assert all(len(node["containers"]) == 2 for node in grown["data"])


def test_a_walk_by_cursor_goes_through_the_tree(make: Make, user: Client) -> None:
    ids = [make_tree(make).id for _ in range(5)]
    listed: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = user.call("GET", PATH, query_string={"cursor": cursor, "page_size": 2, "level": 3})
        listed += [node["id"] for node in page["data"]]
        cursor = page["pagination"]["next_cursor"]
    assert listed == ids


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_number_of_statements_is_constant(make: Make, user: Client, statements: Statements, level: int) -> None:
    def count() -> int:
        with statements() as sent:
            tree(user, level=level, total="none")
        return len(sent)

    make_tree(make)
    few = count()
    for _ in range(5):
        make_tree(make)
    assert count() == few
    # The session, the servers, and one statement for what is under each kind of parent.
    assert few == {1: 2, 2: 4, 3: 6}[level]


@pytest.mark.parametrize(
    "query", ["level=0", "level=4", "level=x", "level=", "level=1&level=2", "fields=id", "nmae=x", "page=0"]
)
def test_invalid_queries_are_refused(user: Client, query: str) -> None:
    user.call("GET", f"{PATH}?{query}", expect=400)
