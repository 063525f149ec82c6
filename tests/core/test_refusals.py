"""Refusals: one record a minute for each caller, whatever they try and how often, in however many processes."""

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit import refusals
from app.core.audit.refusals import AuditRefusal, record_pending
from app.core.db.unit_of_work import db, writing
from app.proof.report import Status
from app.proof.verification import verify
from app.servers.models import Server
from app.users.models import User
from tests.backends import Backend
from tests.client import PASSWORD, Body, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document
from tests.server import encode_request, send_simultaneously, served
from tests.spread import any_database
from tests.threads import run_concurrently

counts = AuditRefusal.__table__


def denied(admin: Client, **query: Any) -> list[Body]:
    query = {"action": "denied", "sort": "id", "page_size": 100, **query}
    records: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return records


def total(records: list[Body]) -> int:
    """How many refusals these records stand for."""
    return sum(record["changes"].get("count", {"new": 1})["new"] for record in records)


def let_a_minute_pass(app: Flask) -> None:
    with app.app_context(), writing():
        earlier = db.session.execute(sa.select(counts.c.caller, counts.c.counted_since)).all()
        for caller, since in earlier:
            values = {"counted_since": since - timedelta(minutes=1)}
            db.session.execute(sa.update(counts).where(counts.c.caller == caller).values(values))


def record_what_is_counted(app: Flask) -> None:
    let_a_minute_pass(app)
    with app.app_context():
        record_pending()


def test_refusals_of_one_caller_share_a_record(
    app: Flask, make: Make, admin: Client, user: Client, other: Client
) -> None:
    servers = [make(Server, created_by_id=admin.user.id) for _ in range(3)]
    paths = [f"/api/servers/{server.id}" for server in servers]
    for path in paths * 2:
        user.call("DELETE", path, expect=403)
    other.call("DELETE", paths[0], expect=403)
    first, of_other = denied(admin)
    assert (first["resource_type"], first["resource_id"], first["resource_name"]) == (
        "servers",
        servers[0].id,
        f"DELETE {paths[0]}",
    )
    assert (first["user_id"], first["changes"]) == (user.user.id, {})
    assert of_other["user_id"] == other.user.id

    record_what_is_counted(app)
    (counted,) = denied(admin)[2:]
    assert (counted["user_id"], counted["username"]) == (user.user.id, user.user.username)
    assert (counted["ip_address"], counted["resource_name"]) == ("127.0.0.1", "5 refusals")
    requests = {f"DELETE {paths[0]}": 1, f"DELETE {paths[1]}": 2, f"DELETE {paths[2]}": 2}
    assert {name: change["new"] for name, change in counted["changes"].items()} == {"count": 5, "requests": requests}

    # In the minute of that record they are counted again; the first one after it brings them along.
    user.call("DELETE", paths[0], expect=403)
    assert len(denied(admin)) == 3
    let_a_minute_pass(app)
    user.call("DELETE", paths[2], expect=403)
    last = denied(admin)[-1]
    assert (last["resource_name"], last["changes"]["count"]["new"]) == (f"DELETE {paths[2]}", 2)
    # Another route is counted with them, and named.
    user.call("GET", "/api/audit-logs", expect=403)
    assert total(denied(admin)) == 9
    record_what_is_counted(app)
    assert denied(admin)[-1]["changes"]["requests"]["new"] == {"GET /api/audit-logs": 1}
    assert total(denied(admin)) == 10
    with app.app_context():
        assert verify().status is Status.INTACT


def test_a_quiet_caller_is_forgotten(app: Flask, admin: Client, user: Client) -> None:
    user.call("GET", "/api/audit-logs", expect=403)
    for _ in range(2):
        record_what_is_counted(app)
    assert total(denied(admin)) == 1
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(counts)) == 0


def test_items_of_a_bulk_request_are_counted(app: Flask, make: Make, admin: Client, user: Client) -> None:
    ids = [make(Server, created_by_id=admin.user.id).id for _ in range(60)]
    items = [{"id": identity, "rack": "R1"} for identity in ids]
    user.call("PATCH", "/api/servers/bulk", json={"mode": "partial", "items": items})
    (record,) = denied(admin)
    assert record["changes"]["count"]["new"] == 60
    named = record["changes"]["requests"]["new"]
    assert named[f"PATCH /api/servers/bulk (servers {ids[0]})"] == 1
    assert (len(named), named["PATCH /api/servers/bulk"]) == (refusals.MAX_REQUESTS + 1, 10)


def test_each_route_is_named_however_many_requests_there_are(
    app: Flask, make: Make, admin: Client, user: Client
) -> None:
    servers = [make(Server, created_by_id=admin.user.id).id for _ in range(refusals.MAX_REQUESTS + 6)]
    for identity in servers:
        user.call("DELETE", f"/api/servers/{identity}", expect=403)
    for identity in servers[-3:]:
        user.call("PATCH", f"/api/servers/{identity}", json={"rack": "R1"}, expect=403)
    user.call("GET", "/api/audit-logs", expect=403)
    record_what_is_counted(app)
    first, counted = denied(admin)
    assert first["changes"] == {}
    requests = counted["changes"]["requests"]["new"]
    assert requests[f"DELETE /api/servers/{servers[1]}"] == 1
    routes = {name: count for name, count in requests.items() if name.endswith(("_id>", "audit-logs"))}
    assert routes == {
        "DELETE /api/servers/<int:object_id>": 5,
        "PATCH /api/servers/<int:object_id>": 3,
        "GET /api/audit-logs": 1,
    }
    assert counted["changes"]["count"]["new"] == sum(requests.values()) == refusals.MAX_REQUESTS + 9


def test_refused_tokens_are_counted_too(app: Flask, admin: Client, user: Client) -> None:
    body = {"name": "script", "scopes": ["read"]}
    token = user.call("POST", "/api/auth/tokens", json=body, expect=201)["data"]
    user.call("DELETE", f"/api/auth/tokens/{token['id']}")
    script = Client(app, user.document, token["token"])
    for _ in range(3):
        script.call("GET", "/api/auth/me", expect=401)
    record_what_is_counted(app)
    assert [total([record]) for record in denied(admin)] == [1, 2]


@pytest.mark.race
def test_two_applications_at_once(
    app: Flask, build_app: BuildApp, document: Document, admin: Client, user: Client
) -> None:
    clients = [Client(each, document, user.token) for each in (app, build_app())]
    calls = [lambda client=client: client.call("GET", "/api/audit-logs", expect=403) for client in clients * 10]
    run_concurrently(calls)
    assert len(denied(admin)) == 1
    run_concurrently([lambda: record_what_is_counted(app)] * 4)
    assert len(denied(admin)) == 2
    assert total(denied(admin)) == 20


@any_database
def test_two_processes_at_once(app: Flask, backend: Backend, admin: Client, make: Make) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(served(backend.settings(), REDIS_URL="")) for _ in range(2)]
        credentials = {"username": make(User).username, "password": PASSWORD}
        token = servers[0].call("POST", "/api/auth/login", body=credentials).body["data"]["access_token"]
        request = encode_request("GET", "/api/audit-logs", token)
        answers = send_simultaneously([(server, request) for server in servers * 6])
    assert [answer.status for answer in answers] == [403] * 12
    assert len(denied(admin)) == 1
    record_what_is_counted(app)
    assert total(denied(admin)) == 12
    with app.app_context():
        assert verify().status is Status.INTACT
