"""Address fields are filtered and sorted as addresses, whatever their spelling."""

import ipaddress
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.audit_logs.declaration import resource as audit_logs
from app.core.addresses import address_key
from app.core.audit import recorder
from app.core.db.rules import is_ip_address, is_mac_address
from app.core.db.unit_of_work import db, reading, writing
from app.core.request_context import RequestContext
from app.resource import Resource
from app.servers.models import Server
from tests.client import Client
from tests.contract.resources import READABLE
from tests.contract.test_filters import filtered_ids
from tests.factories import Make

IP_FIELDS = [
    pytest.param(resource, name, id=f"{resource.name}.{name}")
    for resource in READABLE
    for name, field in resource.fields.items()
    if is_ip_address(field.column)
]
IPS = ["9.255.255.255", "10.0.0.9", "10.0.0.10", "10.0.1.0", "10.10.0.0", "100.0.0.1", "2001:db8::9", "2001:db8::1:0"]
"""In the order of their numbers; as texts they have another one."""


def of_ips(resource: Resource, name: str, make: Make) -> dict[int, str]:
    """Objects with these addresses by their ids, made in another order than that of the addresses."""
    if resource is audit_logs:
        rows = [(ip, _record(make.app, ip)) for ip in sorted(IPS)]
    else:
        rows = [(ip, make(resource.model, **{name: ip}).id) for ip in sorted(IPS)]
    return {identity: ip for ip, identity in rows}


def _record(app: Flask, ip: str) -> int:
    with app.app_context():
        with writing():
            recorder.record("export", "servers", context=RequestContext(request_id="0" * 32, ip_address=ip))
        with reading():
            newest: int = db.session.scalar(sa.text("SELECT max(id) FROM audit_logs"))
    return newest


@pytest.mark.parametrize(("resource", "name"), IP_FIELDS)
def test_networks_spellings_and_numeric_comparisons(resource: Resource, name: str, make: Make, admin: Client) -> None:
    ip_of = of_ips(resource, name, make)
    for query, wanted in {
        "": {"10.0.0.0/8": IPS[1:5], "10.0.0.77/24": IPS[1:3], "0.0.0.0/0": IPS[:6], "2001:DB8::/112": IPS[6:7],
             "2001:0db8:0:0::9": IPS[6:7], "::ffff:10.0.0.9": IPS[1:2], "::ffff:10.0.0.0/120": IPS[1:3],
             "10.0.0.10/32": IPS[2:3], "11.0.0.0/8": []},
        "__in": {"10.0.0.10,2001:DB8:0::9": [IPS[2], IPS[6]], "9.0.0.0/8,10.0.1.0/24,100.0.0.1": IPS[0:6:3] + IPS[5:6]},
        "__ne": {"10.0.0.0/8": [IPS[0], *IPS[5:]], "2001:0DB8::0009": [*IPS[:6], IPS[7]]},
        "__gte": {"10.0.0.10": IPS[2:], "2001:DB8:0::9": IPS[6:]},
        "__gt": {"10.0.0.10": IPS[3:]},
        "__lt": {"10.0.0.10": IPS[:2], "::": IPS[:6]},
        "__lte": {"10.0.0.10": IPS[:3]},
        "__contains": {"0.0.1": [*IPS[2:4], IPS[5]], "DB8": IPS[6:]},
        "__startswith": {"10.0.": IPS[1:4], "2001:D": IPS[6:]},
    }.items():  # fmt: skip
        for text, ips in wanted.items():
            ids = filtered_ids(resource, admin, {f"{name}{query}": text})
            assert sorted(ip_of[one] for one in ids if one in ip_of) == sorted(ips), (query, text)


@pytest.mark.parametrize(("resource", "name"), IP_FIELDS)
@pytest.mark.parametrize(
    "text", ["10.0.0", "nonsense", "10.0.0.0/33", "10.0.0.256", "10.0.0.0/8/8", "::/129", "fe80::1%eth0/8"]
)
def test_nonsense_is_refused(resource: Resource, name: str, text: str, admin: Client) -> None:
    for query in ("", "__in", "__ne", "__gte"):
        admin.call("GET", resource.path, expect=400, query_string={f"{name}{query}": text})
    # A network is neither more nor less than an address, and these are no parts of one.
    admin.call("GET", resource.path, expect=400, query_string={f"{name}__gt": "10.0.0.0/8"})
    admin.call("GET", resource.path, expect=400, query_string={f"{name}__contains": "nonsense"})


@pytest.mark.parametrize(("resource", "name"), [each for each in IP_FIELDS if each.values[0] is not audit_logs])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_as_numbers_page_by_page(
    resource: Resource, name: str, descending: bool, make: Make, admin: Client
) -> None:
    ip_of = of_ips(resource, name, make)
    expected = IPS[::-1] if descending else IPS
    sort = f"-{name}" if descending else name
    listed = admin.call("GET", resource.path, query_string={"sort": sort, "page_size": 100})["data"]
    assert [row[name] for row in listed if row["id"] in ip_of] == expected
    walked: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = admin.call("GET", resource.path, query_string={"sort": sort, "page_size": 3, "cursor": cursor})
        walked += page["data"]
        cursor = page["pagination"]["next_cursor"]
        if page["pagination"]["prev_cursor"]:
            back = {"sort": sort, "page_size": 3, "cursor": page["pagination"]["prev_cursor"]}
            before = admin.call("GET", resource.path, query_string=back)["data"]
            assert [row["id"] for row in before] == [row["id"] for row in walked[: -len(page["data"])][-3:]]
    assert [row["id"] for row in walked] == [row["id"] for row in listed]


MAC = "00:1b:44:11:3a:b7"


@pytest.mark.parametrize(
    "text", ["00-1B-44-11-3A-B7", "001b.4411.3ab7", "001B44113AB7", "00:1B:44:11:3A:B7", " 00 1b 44 11 3a b7"]
)
def test_a_mac_address_is_found_in_any_spelling(text: str, make: Make, user: Client) -> None:
    server, other = make(Server, mac_address=MAC), make(Server, mac_address="00:1b:44:11:3a:b8")
    resource = next(each for each in READABLE if each.model is Server)
    for query in ("", "__in", "__contains", "__lte"):
        assert filtered_ids(resource, user, {f"mac_address{query}": text}) == [server.id], query
    assert filtered_ids(resource, user, {"mac_address__ne": text}) == [other.id]
    assert filtered_ids(resource, user, {"mac_address__startswith": text[:8]}) == [server.id, other.id]


def test_a_mac_address_must_be_one(user: Client) -> None:
    for query in ("", "__in", "__ne", "__gt", "__contains"):
        user.call("GET", "/api/servers", expect=400, query_string={f"mac_address{query}": "00:1b:44:11:3a:zz"})
    user.call("GET", "/api/servers", expect=400, query_string={"mac_address": "00:1b:44:11:3a"})


def test_every_address_field_is_compared_as_one() -> None:
    """A field that is called an address, and is not declared as one, would be compared as text."""
    for resource in READABLE:
        for name, field in resource.fields.items():
            if name.endswith(("_ip", "ip_address", "mac_address")):
                assert is_ip_address(field.column) or is_mac_address(field.column), (resource.name, name)


def test_bulk_changes_take_the_same_filters(make: Make, admin: Client) -> None:
    inside, outside = make(Server, internal_ip="10.77.0.9"), make(Server, internal_ip="10.78.0.9")
    body = {"filter": {"internal_ip": "10.77.0.0/24"}, "set": {"os": "Debian"}, "expected_count": 1}
    admin.call("PATCH", "/api/servers/bulk", json=body)
    read = {row["id"]: row["os"] for row in admin.call("GET", "/api/servers")["data"]}
    assert (read[inside.id], read[outside.id]) == ("Debian", outside.os)


def test_the_key_is_the_same_in_python_and_in_the_database(app: Flask) -> None:
    texts = [*IPS, "::", "::1", "fe80::1", "255.255.255.255", "0.0.0.0", "64:ff9b::102:304", "not an address", ""]
    with app.app_context(), reading():
        keys = [db.session.scalar(sa.select(sa.func.address_key(sa.literal(text)))) for text in texts]
    assert keys == [address_key(text) for text in texts]
    addresses = sorted((ip.version, ip) for ip in map(ipaddress.ip_address, IPS + texts[8:14]))
    assert sorted(filter(None, keys)) == [address_key(str(ip)) for _, ip in addresses]
