"""One refresh token, many requests: one of them gets the successor, and whoever comes later is a thief."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth import exchange
from app.auth.models import AuthSession
from app.core.db.unit_of_work import db
from app.core.http import access
from app.core.values import utcnow
from app.users.models import User
from tests.backends import Backend
from tests.client import PASSWORD, Body, Client
from tests.factories import Make
from tests.openapi import Document
from tests.server import Server, encode_request, send_simultaneously, served
from tests.threads import TIMEOUT_SECONDS, run_concurrently

REFRESH = "/api/auth/refresh"
ROUNDS = {"sqlite": 5, "postgresql": 20}


@pytest.fixture
def tokens(make: Make, anonymous: Client) -> Body:
    credentials = {"username": make(User).username, "password": PASSWORD}
    tokens: Body = anonymous.call("POST", "/api/auth/login", json=credentials)["data"]
    return tokens


@pytest.fixture
def client(app: Flask, document: Document, tokens: Body) -> Client:
    """Somebody with the refresh token."""
    return Client(app, document, tokens["refresh_token"])


def set_session(app: Flask, **values: Any) -> None:
    with app.app_context():
        db.session.execute(sa.update(AuthSession.__table__).values(**values))
        db.session.commit()


def test_of_twenty_refreshes_at_once_one_succeeds_however_many_processes(
    app: Flask, backend: Backend, make: Make
) -> None:
    """Two processes that have only the database in common, again and again with the token that the last round gave."""
    credentials = {"username": make(User).username, "password": PASSWORD}
    with ExitStack() as stack:
        servers = [stack.enter_context(served(backend.settings(), REDIS_URL="")) for _ in range(2)]
        tokens = servers[0].call("POST", "/api/auth/login", body=credentials).body["data"]
        for _ in range(ROUNDS[backend.name]):
            used, tokens = tokens["refresh_token"], refresh_at_once(servers, tokens["refresh_token"])
            for server in servers:
                assert server.call("GET", "/api/auth/me", tokens["access_token"]).status == 200
        # Now that all of them have been answered, whoever comes with the old one has a copy.
        assert servers[1].call("POST", REFRESH, used).body["data"]["reason"] == "token_revoked"
        for server in servers:
            assert server.call("GET", "/api/auth/me", tokens["access_token"]).status == 401
            assert server.call("POST", REFRESH, tokens["refresh_token"]).status == 401


def refresh_at_once(servers: list[Server], token: str) -> Body:
    """The one answer to twenty requests that has tokens."""
    request = encode_request("POST", REFRESH, token)
    answers = send_simultaneously([(server, request) for server in servers * 10])
    reasons = [answer.body["data"].get("reason") for answer in answers]
    assert sorted(map(str, reasons)) == ["None"] + ["token_exchanged"] * 19
    tokens: Body = next(answer.body["data"] for answer in answers if answer.status == 200)
    return tokens


def test_of_twenty_that_are_looked_at_together_one_succeeds(
    app: Flask, document: Document, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, verify = Barrier(20), access._session_reader

    def verify_together(claims: Any) -> Any:
        gate.wait(TIMEOUT_SECONDS)
        return verify(claims)

    with monkeypatch.context() as gated:
        gated.setattr(access, "_session_reader", verify_together)
        answers = run_concurrently([lambda: client.call("POST", REFRESH, expect=(200, 401))] * 20)
    (winner,) = [answer["data"] for answer in answers if answer["code"] == 0]
    Client(app, document, winner["access_token"]).call("GET", "/api/auth/me")
    client.call("POST", REFRESH, expect=401)
    Client(app, document, winner["access_token"]).call("GET", "/api/auth/me", expect=401)


def test_whoever_is_overtaken_does_no_harm(app: Flask, client: Client) -> None:
    set_session(app, claimed_at=utcnow())
    for _ in range(3):
        assert client.call("POST", REFRESH, expect=401)["data"] == {"reason": "token_exchanged"}
    set_session(app, claimed_at=None)
    client.call("POST", REFRESH)


def test_an_exchange_whose_process_has_died_is_begun_again(app: Flask, client: Client) -> None:
    set_session(app, claimed_at=utcnow() - exchange.CLAIM - timedelta(seconds=1), contenders=3)
    client.call("POST", REFRESH)
    assert client.call("POST", REFRESH, expect=401)["data"]["reason"] == "token_revoked"


@pytest.fixture
def meanwhile(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something done by somebody else each time that the first one waits for quiet."""

    def meanwhile(happens: Callable[[], Any]) -> None:
        def wait(_seconds: float) -> None:
            other = Thread(target=happens)
            other.start()
            other.join()

        monkeypatch.setattr(exchange.time, "sleep", wait)

    return meanwhile


def test_nobody_waits_for_ever_because_others_go_on_asking(
    client: Client, meanwhile: Callable[[Callable[[], Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.2)
    refused: list[Body] = []
    meanwhile(lambda: refused.append(client.call("POST", REFRESH, expect=401)["data"]))
    client.call("POST", REFRESH)
    assert len(refused) > 1
    assert {answer["reason"] for answer in refused} == {"token_exchanged"}


def test_a_session_that_ends_meanwhile_gets_no_successor(
    app: Flask, client: Client, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    meanwhile(lambda: set_session(app, ended_at=utcnow()))
    assert client.call("POST", REFRESH, expect=401)["data"]["reason"] == "token_revoked"
