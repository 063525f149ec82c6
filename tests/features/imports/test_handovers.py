"""Unique values that move between the objects of one file: what counts is that the end is consistent."""

import json
from itertools import pairwise

import pytest

from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.imports.plan import store
from app.resource.bulk import writer
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make
from tests.features.conftest import Upload, apply, errors_of

TITLES = ("Name", "Datacenter", "Internal IP")


@pytest.fixture
def addresses(admin: Client, make: Make) -> list[str]:
    """The addresses of servers ch-0 to ch-4 of one datacenter."""
    site = make(Datacenter, name="CH")
    addresses = [f"10.1.0.{number}" for number in range(1, 6)]
    for number, address in enumerate(addresses):
        make(Server, name=f"ch-{number}", datacenter_id=site.id, internal_ip=address)
    return addresses


def stored(client: Client, path: str, *names: str) -> list[tuple[object, ...]]:
    listed = client.call("GET", f"{path}?sort=id&page_size=100")["data"]
    return [tuple(item[name] for name in names) for item in listed]


def rows_with(addresses: list[str | None]) -> list[tuple[str | None, ...]]:
    return [TITLES, *((f"ch-{number}", "CH", address) for number, address in enumerate(addresses))]


@pytest.mark.parametrize(
    "order",
    [
        (None, 0, 2, 3, 4),  # given up, and taken by another one
        (1, 2, 3, 4, None),  # a chain whose every object takes from the next
        (None, 0, 1, 2, 3),
        (1, 0, 2, 3, 4),  # a swap
        (1, 2, 0, 4, 3),  # circles
    ],
)
def test_addresses_move_between_servers(
    admin: Client, upload: Upload, addresses: list[str], order: tuple[int | None, ...]
) -> None:
    wanted = [None if number is None else addresses[number] for number in order]
    rows = [[*row[:2], row[2] or "<clear>"] for row in rows_with(wanted)]
    import_ = upload(admin, Servers=rows)
    assert errors_of(admin, import_) == []
    apply(admin, import_)
    assert stored(admin, "/api/servers", "internal_ip") == [(address,) for address in wanted]
    admin.call("POST", f"/api/imports/{import_['id']}/revert")
    assert stored(admin, "/api/servers", "internal_ip") == [(address,) for address in addresses]


def test_a_new_object_takes_what_another_row_gives_up(admin: Client, upload: Upload, addresses: list[str]) -> None:
    rows = [TITLES, ("new", "CH", addresses[0]), ("ch-0", "CH", "<clear>")]
    apply(admin, upload(admin, Servers=rows))
    assert stored(admin, "/api/servers", "internal_ip")[-1] == (addresses[0],)


def test_a_row_with_an_error_gives_nothing_up(admin: Client, upload: Upload, addresses: list[str]) -> None:
    rows = [
        (*TITLES, "CPU Cores"),
        ("ch-0", "CH", "10.1.0.99", "many"),
        ("ch-1", "CH", addresses[0], None),
        ("ch-2", "CH", addresses[1], None),
        ("ch-3", "CH", "10.1.0.98", None),
        ("ch-4", "CH", addresses[3], None),
    ]
    import_ = upload(admin, Servers=rows)
    assert errors_of(admin, import_) == [
        ("Servers", 2, "D2", "number"),
        ("Servers", 3, "C3", "taken"),
        ("Servers", 4, "C4", "taken"),
    ]
    apply(admin, import_, on_error="skip")
    assert [address for (address,) in stored(admin, "/api/servers", "internal_ip")][3:] == ["10.1.0.98", addresses[3]]


def test_names_go_round_among_servers_with_tags(admin: Client, upload: Upload, make: Make) -> None:
    for number in range(3):
        make(Server, name=f"s-{number}", asset_tag=f"T{number}")
    rows = [("Name", "Asset tag"), *((f"s-{(number + 1) % 3}", f"T{number}") for number in range(3))]
    apply(admin, upload(admin, Servers=rows))
    assert stored(admin, "/api/servers", "name") == [("s-1",), ("s-2",), ("s-0",)]
    history = admin.call("GET", "/api/audit-logs?resource_type=servers&action=update&sort=id")["data"]
    # One object of the circle stood aside, and its two records say so.
    assert len(history) == 4


def ports(host_port: int) -> str:
    return json.dumps([{"host_port": host_port, "container_port": 80, "protocol": "tcp"}])


def test_slots_of_gpus_and_ports_of_containers_are_swapped(admin: Client, upload: Upload, make: Make) -> None:
    server = make(Server, name="s-1")
    for slot in (0, 1):
        make(Gpu, server_id=server.id, slot=slot, uuid=f"GPU-{slot}")
        make(Container, server_id=server.id, name=f"c-{slot}", port_mappings=json.loads(ports(80 + slot)))
    gpus = [("UUID", "Server", "Slot"), ("GPU-0", "s-1", 1), ("GPU-1", "s-1", 0)]
    containers = [("Name", "Server", "Port mappings"), ("c-0", "s-1", ports(81)), ("c-1", "s-1", ports(80))]
    import_ = upload(admin, GPUs=gpus, Containers=containers)
    assert errors_of(admin, import_) == []
    apply(admin, import_)
    assert stored(admin, "/api/gpus", "slot") == [(1,), (0,)]
    assert stored(admin, "/api/containers", "port_mappings") == [(json.loads(ports(port)),) for port in (81, 80)]


def test_a_chain_longer_than_a_part_of_the_plan(
    admin: Client, upload: Upload, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH_ROWS", 3)
    monkeypatch.setattr(writer, "BATCH_ROWS", 3)
    for number in range(10):
        make(Server, name=f"s-{number}", asset_tag=f"T{number}")
    tags = [f"T{(number + 1) % 10}" for number in range(10)]
    rows = [("Name", "Asset tag"), *((f"s-{number}", tag) for number, tag in enumerate(tags))]
    import_ = upload(admin, form={"match": "name"}, Servers=rows)
    apply(admin, import_)
    assert stored(admin, "/api/servers", "asset_tag") == [(tag,) for tag in tags]
    admin.call("POST", f"/api/imports/{import_['id']}/revert")
    assert stored(admin, "/api/servers", "asset_tag") == [(f"T{number}",) for number in range(10)]


def test_a_bulk_change_swaps_too(admin: Client, addresses: list[str]) -> None:
    servers = admin.call("GET", "/api/servers?sort=id")["data"]
    items: list[Body] = [
        {"id": one["id"], "internal_ip": other["internal_ip"]} for one, other in pairwise([*servers, servers[0]])
    ]
    admin.call("PATCH", "/api/servers/bulk", json={"items": items})
    assert stored(admin, "/api/servers", "internal_ip") == [(each,) for each in [*addresses[1:], addresses[0]]]


def test_an_address_that_was_taken_since_the_plan_is_a_conflict(
    admin: Client, upload: Upload, make: Make, addresses: list[str]
) -> None:
    import_ = upload(admin, Servers=rows_with(["10.1.0.99", addresses[0], *addresses[2:]]))
    site = admin.call("GET", "/api/servers")["data"][0]["datacenter_id"]
    make(Server, name="other", datacenter_id=site, internal_ip="10.1.0.99")
    apply(admin, import_)
    problem = admin.call("GET", f"/api/imports/{import_['id']}")["data"]["problem"]
    assert [(each["row"], "taken this Internal IP" in each["message"]) for each in problem["conflicts"]] == [(2, True)]
    assert stored(admin, "/api/servers", "internal_ip")[:5] == [(address,) for address in addresses]
