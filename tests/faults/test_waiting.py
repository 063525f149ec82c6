"""No request waits long for a database that hangs, or for what somebody else holds; jobs do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects import silence
from app.core.db.dialects.mariadb import driver as mariadb
from app.core.db.dialects.postgresql import driver as postgresql
from app.core.db.timeouts import LOCK_SECONDS
from app.core.db.unit_of_work import db, reading, writing
from app.datacenters.models import Datacenter
from tests.backends import DEFAULT_PORTS, Backend, on_postgresql, on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.faults.proxy import Proxy
from tests.openapi import Document
from tests.server import Server, encode_request, send_simultaneously, served
from tests.threads import TIMEOUT_SECONDS, run_concurrently, wait_until

SLEEPING: Mapping[str, tuple[Any, str]] = {"postgresql": (postgresql, "pg_sleep"), "mariadb": (mariadb, "sleep")}
MORE_THAN_THREADS = 20
"""Requests that queue for a thread of the server."""


class Behind(NamedTuple):
    """A server whose database can fall silent."""

    server: Server
    proxy: Proxy


@contextmanager
def proxied(backend: Backend) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the database, and the URL of the database behind it."""
    url = sa.make_url(backend.settings().SQLALCHEMY_DATABASE_URI)
    proxy = Proxy((url.host or "127.0.0.1", url.port or DEFAULT_PORTS[backend.name]))
    with proxy.listening() as port:
        yield proxy, url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@pytest.fixture
def behind(app: Flask, backend: Backend) -> Iterator[Behind]:
    with proxied(backend) as (proxy, url), served(backend.settings(), DATABASE_URL=url) as server:
        yield Behind(server, proxy)


@on_servers
def test_requests_to_a_database_that_hangs(behind: Behind, make: Make, admin: Client) -> None:
    """They are answered while it hangs, those too that queue for a thread; and it is used again afterwards."""
    site = f"/api/datacenters/{make(Datacenter, name='before').id}"
    server, proxy = behind
    assert server.call("GET", site, admin.token).status == 200
    requests = [
        encode_request("GET", "/api/servers", admin.token),
        encode_request("GET", site, admin.token),
        encode_request("PATCH", site, admin.token, {"name": "lost"}),
        encode_request("POST", "/api/auth/login", None, {"username": "somebody", "password": "something"}),
        encode_request("GET", "/api/health/ready"),
    ]
    with proxy.silent():
        answers = send_simultaneously([(server, requests[turn % len(requests)]) for turn in range(MORE_THAN_THREADS)])
        assert {answer.status for answer in answers} == {503}
        assert {answer.body["data"]["reason"] for answer in answers} == {"unavailable"}
        assert server.call("GET", "/api/health").status == 200
    wait_until(lambda: server.call("GET", site, admin.token).status == 200)
    assert server.call("GET", site, admin.token).body["data"]["name"] == "before"
    assert server.call("PATCH", site, admin.token, {"name": "after"}).status == 200


def test_only_a_request_gives_up_on_what_another_transaction_holds(
    app: Flask, build_app: BuildApp, document: Document, make: Make, admin: Client
) -> None:
    site = make(Datacenter, name="as it was").id
    # Built before the threads begin: Werkzeug parses an expression for each rule, and CPython 3.11 counts the depth of
    # the trees of all threads together ("AST constructor recursion depth mismatch").
    web, worker = build_app(), build_app()
    held, refused = Event(), Event()

    def hold() -> None:
        with app.app_context(), writing():
            db.session.get_one(Datacenter, site, with_for_update=True)
            held.set()
            assert refused.wait(TIMEOUT_SECONDS)

    def ask() -> None:
        held.wait(TIMEOUT_SECONDS)
        client = Client(web, document, admin.token)
        answer = client.send("PATCH", f"/api/datacenters/{site}", json={"name": "x"}, expect=503)
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.get_json()["data"]["reason"] == "locked"
        refused.set()

    def work() -> None:
        held.wait(TIMEOUT_SECONDS)
        with worker.app_context(), writing():
            db.session.get_one(Datacenter, site, with_for_update=True).description = "by a job"

    run_concurrently([hold, ask, work], lock_seconds=LOCK_SECONDS)
    shown = admin.call("GET", f"/api/datacenters/{site}")["data"]
    assert (shown["name"], shown["description"]) == ("as it was", "by a job")


@on_postgresql
def test_a_statement_that_takes_too_long_ends_on_the_server_too(
    app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MariaDB it ends by the server's limit for all statements, half a minute."""
    monkeypatch.setattr(postgresql, "ANSWER_SECONDS", 0.2)
    running = sa.text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")
    with pytest.raises(sa.exc.OperationalError), app.test_request_context(), reading():
        db.session.execute(sa.text("SELECT pg_sleep(3600)"))
    with app.app_context(), reading():
        wait_until(lambda: db.session.scalar(running) == 0)
        # What is no request waits for a result as long as it takes.
        assert db.session.execute(sa.text("SELECT pg_sleep(0.5)")).all()


@on_servers
def test_requests_wait_less_while_the_database_hangs(
    app: Flask, backend: Backend, build_app: BuildApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections, _ = SLEEPING[backend.name]
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 10 * TIMEOUT_SECONDS)
    with proxied(backend) as (proxy, url):
        behind = build_app(SQLALCHEMY_DATABASE_URI=url)
        assert is_answered(behind)
        with proxy.silent():
            monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.2)
            assert not is_answered(behind)
            monkeypatch.setattr(connections, "ANSWER_SECONDS", 10 * TIMEOUT_SECONDS)
            for _ in range(3):
                assert not is_answered(behind)
        wait_until(lambda: is_answered(behind))


@on_servers
def test_requests_are_answered_after_a_statement_was_too_slow(
    app: Flask, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, because the database is well. What is no request waits for a result as long as it takes."""
    connections, sleep = SLEEPING[backend.name]
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 10 * TIMEOUT_SECONDS)
    with app.app_context():
        # So that the statement has the only connection.
        db.engine.dispose()
    with pytest.raises(sa.exc.OperationalError), app.test_request_context(), reading():
        db.session.execute(sa.text(f"SELECT {sleep}(3)"))
    wait_until(lambda: is_answered(app))
    with app.app_context(), reading():
        assert db.session.execute(sa.text(f"SELECT {sleep}(0.5)")).all()


def is_answered(app: Flask) -> bool:
    """Whether the database answers a request."""
    with suppress(sa.exc.OperationalError), app.test_request_context(), reading():
        db.session.execute(sa.text("SELECT 1"))
        return True
    return False


@on_servers
@pytest.mark.parametrize(("is_request", "expected"), [(True, 2), (False, 10)])
def test_how_long_a_transaction_waits_for_a_lock(app: Flask, backend: Backend, is_request: bool, expected: int) -> None:
    query = {
        "postgresql": "SELECT setting::integer / 1000 FROM pg_settings WHERE name = 'lock_timeout'",
        "mariadb": "SELECT @@innodb_lock_wait_timeout",
    }
    with app.test_request_context() if is_request else app.app_context(), writing():
        assert db.session.scalar(sa.text(query[backend.name])) == expected
