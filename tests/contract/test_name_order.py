"""Lists sorted by a text: case does not count, and numbers are ordered by their value; by cursor too."""

import pytest

from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.backends import on_postgresql
from tests.client import Client
from tests.factories import Make

IN_ORDER = ["P1", "p2", "P02b", "p3", "p10", "Q1", "rack 9", "Rack 11"]


@pytest.mark.parametrize("sort", ["name", "-name"])
def test_names_are_in_natural_order(make: Make, admin: Client, sort: str) -> None:
    for name in sorted(IN_ORDER):
        make(Server, name=name)
    expected = IN_ORDER if sort == "name" else IN_ORDER[::-1]
    assert [row["name"] for row in admin.call("GET", f"/api/servers?sort={sort}")["data"]] == expected
    names, cursor = [], ""
    while cursor is not None:
        page = admin.call("GET", "/api/servers", query_string={"sort": sort, "cursor": cursor, "page_size": 3})
        names += [row["name"] for row in page["data"]]
        cursor = page["pagination"]["next_cursor"]
    assert names == expected


def test_so_are_the_names_of_referred_objects(make: Make, admin: Client) -> None:
    for name in ("DC10", "dc9", "DC1"):
        make(Server, name=name, datacenter_id=make(Datacenter, name=name).id)
    names = [row["datacenter"]["name"] for row in admin.call("GET", "/api/servers?sort=datacenter")["data"]]
    assert names == ["DC1", "dc9", "DC10"]


@pytest.mark.parametrize("sort", ["rack", "-rack", "attributes.row", "-attributes.row"])
def test_so_are_other_texts(make: Make, admin: Client, sort: str) -> None:
    for text in sorted(IN_ORDER):
        make(Server, rack=text, attributes={"row": text})
    expected = IN_ORDER if sort[0] != "-" else IN_ORDER[::-1]
    names, cursor = [], ""
    while cursor is not None:
        page = admin.call("GET", "/api/servers", query_string={"sort": sort, "cursor": cursor, "page_size": 3})
        names += [row["rack"] for row in page["data"]]
        cursor = page["pagination"]["next_cursor"]
    assert names == expected


@on_postgresql
def test_an_index_has_this_order(make: Make, admin: Client) -> None:
    make(Server)
    with admin.app.app_context():
        connection = db.session.connection()
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        ordered = "SELECT id, natural_key(name) FROM servers ORDER BY natural_key(name), id LIMIT 20 OFFSET 9000"
        plan = "\n".join(line for (line,) in connection.exec_driver_sql(f"EXPLAIN {ordered}"))
        db.session.rollback()
    # What it counts off before a page it does not look up in the table.
    assert "Index Only Scan using ix_servers_name_sorted" in plan
    assert "Sort" not in plan


def test_the_longest_texts_fit_into_the_indexes(admin: Client) -> None:
    long = "".join(chr(0x1F300 + number) for number in range(255))
    names = ("name", "hostname", "manufacturer", "model", "serial_number", "asset_tag", "os", "owner")
    texts = dict.fromkeys(names, long)
    server = admin.call("POST", "/api/servers", json=texts, expect=201)["data"]
    image = "".join(chr(0x20000 + number) for number in range(512))
    container = {"name": long, "server_id": server["id"], "image": image}
    admin.call("POST", "/api/containers", json=container, expect=201)
    shown = admin.call("GET", "/api/servers?sort=name")["data"]
    assert shown[0].items() >= texts.items()
