"""Rack units that two servers share: allowed, unless the write asks for a refusal."""

import pytest

from app.datacenters.models import Datacenter
from tests.client import Body, Client
from tests.factories import Make

STRICT = "strict_racks=true"


@pytest.fixture
def place(make: Make) -> Body:
    site = make(Datacenter)
    return {"datacenter_id": site.id, "rack": "R1", "rack_unit": 3}


def test_a_shared_rack_unit_is_refused_where_the_write_asks_so(user: Client, place: Body) -> None:
    first = user.call("POST", f"/api/servers?{STRICT}", json={"name": "a", **place}, expect=201)["data"]
    shared = {"name": "b", **place, "rack": "ｒ1"}
    refused = user.call("POST", f"/api/servers?{STRICT}", json=shared, expect=409)
    message = f"Server {first['id']} has this rack unit."
    assert refused["message"] == message
    assert (refused["data"]["reason"], refused["data"]["errors"]) == ("shared", {"rack_unit": [message]})
    second = user.call("POST", "/api/servers", json=shared, expect=201)["data"]
    path = f"/api/servers/{second['id']}"
    for body in ({"os": "Debian"}, {"rack": "R1"}):
        user.call("PATCH", f"{path}?{STRICT}", json=body, expect=409)
    assert user.call("GET", path)["data"]["version"] == 1
    for body in ({"rack_unit": 4}, {"rack_unit": 3, "rack": "R2"}, {"rack": None}, {"rack": "R1", "rack_unit": None}):
        user.call("PATCH", f"{path}?{STRICT}", json=body)
    # Its own place is not in its way.
    user.call("PATCH", f"/api/servers/{first['id']}?{STRICT}", json={"os": "Debian"})


def test_without_a_datacenter_there_is_one_place(user: Client, place: Body) -> None:
    nowhere = {**place, "datacenter_id": None}
    user.call("POST", f"/api/servers?{STRICT}", json={"name": "a", **place}, expect=201)
    user.call("POST", f"/api/servers?{STRICT}", json={"name": "b", **nowhere}, expect=201)
    user.call("POST", f"/api/servers?{STRICT}", json={"name": "c", **nowhere}, expect=409)


def test_only_writes_of_servers_know_the_parameter(user: Client, place: Body) -> None:
    user.call("POST", f"/api/assets?{STRICT}", json={"name": "a", "asset_type": "laptop"}, expect=400)
    user.call("GET", f"/api/servers?{STRICT}", expect=400)


def test_bulk_writes_refuse_it_too(user: Client, place: Body) -> None:
    first = user.call("POST", "/api/servers", json={"name": "a", **place}, expect=201)["data"]
    items = [{"name": name, **place, "rack_unit": unit} for name, unit in (("b", 3), ("c", 4), ("d", 4), ("e", 5))]
    body = {"mode": "partial", "items": items}
    results = user.call("POST", f"/api/servers/bulk?{STRICT}", json=body)["data"]["results"]
    assert [result["status"] for result in results] == ["conflict", "ok", "conflict", "ok"]
    assert results[0]["error"]["message"] == f"Server {first['id']} has this rack unit."
    assert results[2]["error"]["message"] == "An item before has this rack unit."
    third, fifth = results[1]["id"], results[3]["id"]
    swap = {"items": [{"id": third, "rack_unit": 5}, {"id": fifth, "rack_unit": 4}]}
    user.call("PATCH", f"/api/servers/bulk?{STRICT}", json=swap)
    crowd = {"filter": {"rack": "R1"}, "set": {"rack_unit": 9}, "expected_count": 3}
    user.call("PATCH", f"/api/servers/bulk?{STRICT}", json=crowd, expect=409)
    user.call("PATCH", "/api/servers/bulk", json=crowd)
