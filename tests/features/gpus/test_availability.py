"""The search for available GPUs, such as "four H100 on one server"."""

from typing import Any

import pytest

from app.datacenters.models import Datacenter
from app.gpus import availability
from app.gpus.models import Gpu, GpuStatus
from app.servers.models import Server, ServerStatus
from tests.client import Body, Client
from tests.conftest import Statements
from tests.factories import Make

H100 = "NVIDIA H100 80GB HBM3"


def available(client: Client, **query: Any) -> Body:
    data: Body = client.call("GET", "/api/gpus/available", query_string=query)["data"]
    return data


def server_with(make: Make, number: int, model: str = H100, **fields: Any) -> Server:
    server = make(Server, **fields)
    for slot in reversed(range(number)):
        make(Gpu, model=model, server_id=server.id, slot=slot)
    return server


def suggested(answer: Body) -> list[tuple[str, str, list[int]]]:
    """(server, model, slots) of each suggestion."""
    servers = answer["servers"]
    return [(entry["server"]["name"], entry["model"], [gpu["slot"] for gpu in entry["gpus"]]) for entry in servers]


def test_servers_with_enough_gpus_best_fit_first(make: Make, user: Client) -> None:
    datacenter = make(Datacenter, name="SH-1")
    for name, number in (("small", 3), ("large", 8), ("fitting", 4)):
        server_with(make, number, name=name, datacenter_id=datacenter.id)
    server_with(make, 6, name="other model", model="NVIDIA A100")
    answer = available(user, model="h100", count=4, same_server="true")
    # Best fit: the server with exactly four comes before the one with eight.
    assert suggested(answer) == [("fitting", H100, [0, 1, 2, 3]), ("large", H100, [0, 1, 2, 3])]
    assert (answer["possible"], answer["available"], answer["most_on_one_server"]) == (True, 15, 8)
    assert [entry["available"] for entry in answer["servers"]] == [4, 8]
    assert answer["servers"][0]["datacenter"] == {"id": datacenter.id, "name": "SH-1"}


def test_no_server_has_enough(make: Make, user: Client) -> None:
    for name, number in (("two", 2), ("three", 3), ("four", 4)):
        server_with(make, number, name=name)
    answer = available(user, model="H100", count=5, same_server="true")
    assert (answer["possible"], answer["available"], answer["most_on_one_server"]) == (False, 9, 4)
    # What there is, the most first.
    assert suggested(answer) == [("four", H100, [0, 1, 2, 3]), ("three", H100, [0, 1, 2]), ("two", H100, [0, 1])]


def test_without_same_server_as_few_servers_as_possible(make: Make, user: Client) -> None:
    for name, number in (("one", 1), ("five", 5), ("three", 3)):
        server_with(make, number, name=name)
    answer = available(user, model="H100", count=7)
    assert suggested(answer) == [("five", H100, [0, 1, 2, 3, 4]), ("three", H100, [0, 1])]
    assert answer["possible"]
    too_many = available(user, model="H100", count=10)
    assert suggested(too_many) == [("five", H100, [0, 1, 2, 3, 4]), ("three", H100, [0, 1, 2]), ("one", H100, [0])]
    assert not too_many["possible"]


def test_gpus_that_are_not_available_do_not_count(make: Make, user: Client) -> None:
    server = server_with(make, 2)
    for slot, status in enumerate((GpuStatus.MAINTENANCE, GpuStatus.RETIRED), start=5):
        make(Gpu, model=H100, server_id=server.id, slot=slot, status=status)
    for status in (ServerStatus.MAINTENANCE, ServerStatus.OFFLINE, ServerStatus.RETIRED):
        server_with(make, 4, status=status)
    gpu = available(user)["servers"][0]["gpus"][0]
    assert available(user)["available"] == 2
    user.call("POST", f"/api/gpus/{gpu['id']}/assign", json={"user_id": user.user.id})
    assert available(user)["available"] == 1
    user.call("POST", f"/api/gpus/{gpu['id']}/release")
    assert available(user)["available"] == 2


def test_suggested_gpus_can_be_assigned(make: Make, user: Client) -> None:
    server_with(make, 4)
    for gpu in available(user, model="H100", count=4, same_server="true")["servers"][0]["gpus"]:
        assert set(gpu) == {"id", "slot", "uuid", "memory_mb"}
        user.call("POST", f"/api/gpus/{gpu['id']}/assign", json={"user_id": user.user.id})
    assert available(user, model="H100")["available"] == 0


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("A10", {"NVIDIA A10"}),  # and not the A100
        ("a100", {"A100", "a100"}),  # an exact name excludes names that only contain it
        ("A100 SXM4", {"A100-SXM4-40GB", "NVIDIA A100 SXM4 80GB"}),
        ("nvidia", {"NVIDIA A10", "NVIDIA A100 SXM4 80GB"}),
        ("A100%", {"A100", "a100", "A100-SXM4-40GB", "NVIDIA A100 SXM4 80GB"}),
        ("V100", set()),
        (None, {"NVIDIA A10", "A100", "a100", "A100-SXM4-40GB", "NVIDIA A100 SXM4 80GB"}),
    ],
)
def test_model_matches_by_name_or_by_words(make: Make, user: Client, text: str | None, models: set[str]) -> None:
    for model in ("NVIDIA A10", "A100", "a100", "A100-SXM4-40GB", "NVIDIA A100 SXM4 80GB"):
        server_with(make, 1, model=model)
    query = {"model": text} if text else {}
    answer = available(user, **query, count=max(len(models), 1))
    assert {entry["model"] for entry in answer["servers"]} == models
    assert answer["possible"] == bool(models)


def test_same_server_requires_one_model(make: Make, user: Client) -> None:
    server = server_with(make, 2)
    for slot in (5, 6):
        make(Gpu, model="NVIDIA H100 PCIe", server_id=server.id, slot=slot)
    assert not available(user, model="H100", count=4, same_server="true")["possible"]
    assert available(user, model="H100", count=4)["possible"]


def test_without_gpus_nothing_is_available(user: Client) -> None:
    nothing = {"possible": False, "available": 0, "most_on_one_server": 0, "at_least": False, "servers": []}
    assert available(user) == nothing


def test_of_very_many_some_are_looked_through(make: Make, user: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "MAX_GPUS", 4)
    for name, number in (("three", 3), ("two", 2), ("six", 6)):
        server_with(make, number, name=name)
    some = available(user, model="H100", count=2, same_server="true")
    assert (some["possible"], some["available"], some["at_least"]) == (True, 5, True)
    assert [entry["server"]["name"] for entry in some["servers"]] == ["two", "three"]
    # All of them, where those do not suffice.
    for query, names in (({"count": 6, "same_server": "true"}, ["six"]), ({"count": 11}, ["six", "three", "two"])):
        whole = available(user, model="H100", **query)
        assert whole["possible"]
        assert [entry["server"]["name"] for entry in whole["servers"]] == names
    nowhere = available(user, model="H100", count=7, same_server="true")
    assert (nowhere["possible"], nowhere["at_least"]) == (False, True)


@pytest.mark.parametrize(
    "query",
    [
        "count=0",
        "count=1001",
        "count=x",
        "same_server=perhaps",
        "model=",
        "model=%00",
        "nonsense=1",
        "count=" + "9" * 30,
    ],
)
def test_invalid_queries_are_refused(user: Client, query: str) -> None:
    user.call("GET", f"/api/gpus/available?{query}", expect=400)


@pytest.mark.parametrize("same_server", ["true", "false"])
def test_number_of_statements_is_constant(make: Make, user: Client, statements: Statements, same_server: str) -> None:
    def count() -> int:
        with statements() as sent:
            available(user, count=1, same_server=same_server)
        return len(sent)

    server_with(make, 1)
    few = count()
    for _ in range(10):
        server_with(make, 3)
    assert count() == few


def test_the_search_is_narrowed_by_the_filters_of_the_list(make: Make, user: Client) -> None:
    near, far = (make(Datacenter, name=name) for name in ("SH-1", "SH-2"))
    server_with(make, 2, name="near", datacenter_id=near.id)
    server_with(make, 4, name="far", datacenter_id=far.id)
    answer = available(user, count=2, same_server="true", **{"server.datacenter": "sh-1"})
    assert [entry["server"]["name"] for entry in answer["servers"]] == ["near"]
    assert (answer["available"], answer["most_on_one_server"]) == (2, 2)
    assert suggested(available(user, slot__gte=3)) == [("far", H100, [3])]
    assert available(user, **{"server.datacenter__contains": "nowhere"})["servers"] == []
    for query in (
        "page=1",
        "sort=id",
        "q=x",
        "modle=H100",
        "server.datacentre=SH-1",
        "server.datacenter=nowhere",
        "count=0",
    ):
        user.call("GET", f"/api/gpus/available?{query}", expect=400)
