"""Every request has an id and an address, and nobody can make up the address."""

import re

import pytest
from flask import Flask

from app.core.db.unit_of_work import current_context, db, unit_of_work
from app.core.http.access import Role
from app.datacenters.models import Datacenter
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp, SignIn
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database

WELL_FORMED = ("request-1", "A.b_c-0123456789", "x" * 64, "0" * 8)
MALFORMED = ("", "short", "x" * 65, "with space", "quote\"'<>", "line\\nbreak", "ünïcödé-1", "a" * 10_000)


def test_a_well_formed_request_id_is_kept(anonymous: Client) -> None:
    for name in WELL_FORMED:
        assert anonymous.send("GET", "/api/health", headers={"X-Request-ID": name}).headers["X-Request-ID"] == name


def test_another_one_is_replaced(anonymous: Client) -> None:
    made = {
        anonymous.send("GET", "/api/health", headers={"X-Request-ID": name.encode().decode("latin-1")}).headers[
            "X-Request-ID"
        ]
        for name in MALFORMED
    }
    assert len(made) == len(MALFORMED)
    assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in made)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nonsense", 404), ("DELETE", "/api/health", 405), ("GET", "/api/servers", 401)],
)
def test_failures_carry_it_too(anonymous: Client, method: str, path: str, status: int) -> None:
    response = anonymous.send(method, path, headers={"X-Request-ID": "request-1"}, expect=status)
    assert response.headers["X-Request-ID"] == "request-1"


def seen_address(client: Client, admin: Client, forwarded: str | None) -> str | None:
    """The address that a login with this X-Forwarded-For is recorded under."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    credentials = {"username": admin.user.username, "password": PASSWORD}
    client.call("POST", "/api/auth/login", json=credentials, headers=headers)
    query = {"action": "login", "sort": "-id", "page_size": 1}
    address: str | None = admin.call("GET", "/api/audit-logs", query_string=query)["data"][0]["ip_address"]
    return address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "127.0.0.1"),
        (0, "203.0.113.9", "127.0.0.1"),
        (1, None, "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "10.6.6.6, 203.0.113.9", "203.0.113.9"),
        (1, "2001:db8::9", "2001:db8::9"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "[::FFFF:203.0.113.9]:80", "203.0.113.9"),
        (1, "[2001:DB8:0::9]:443", "2001:db8::9"),
        (1, "[2001:db8::9]", "2001:db8::9"),
        (1, "203.0.113.9:http", None),
        (2, "10.6.6.6, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "203.0.113.9", "127.0.0.1"),
        (1, "x" * 500, None),
    ],
)
def test_only_the_configured_proxies_are_believed(
    build_app: BuildApp, document: Document, admin: Client, proxies: int, forwarded: str | None, address: str | None
) -> None:
    client = Client(build_app(TRUSTED_PROXIES=proxies), document)
    assert seen_address(client, admin, forwarded) == address


def test_outside_of_a_request_it_is_the_system(app: Flask) -> None:
    with app.app_context():
        origin = current_context()
        assert (origin.username, origin.user_id, origin.ip_address) == ("system", None, None)
        assert current_context() is origin


def test_two_requests_are_two_origins(app: Flask, make: Make, sign_in: SignIn) -> None:
    """Nothing of one request is left for the next one in the same thread."""
    admin, user = sign_in(role=Role.ADMIN), sign_in()
    reason = {"X-Audit-Reason": "only this once"}
    admin.call("POST", "/api/datacenters", json={"name": "first"}, headers=reason, expect=201)
    user.call("POST", "/api/servers", json={"name": "second"}, expect=201)
    query = {"action": "create", "sort": "-id", "page_size": 2}
    later, earlier = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert (earlier["username"], earlier["reason"]) == (admin.user.username, "only this once")
    assert (later["username"], later["reason"]) == (user.user.username, None)
    assert later["request_id"] != earlier["request_id"]
    with app.app_context():
        assert not unit_of_work().is_reading
        assert db.session.get(Datacenter, 0) is None
