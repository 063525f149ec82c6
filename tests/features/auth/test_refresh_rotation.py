"""Refresh token rotation: one of many concurrent requests succeeds, and later reuse ends the session."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event, Thread, local
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth import refresh_rotation
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
ROUNDS = 7


@pytest.fixture
def tokens(make: Make, anonymous: Client) -> Body:
    credentials = {"username": make(User).username, "password": PASSWORD}
    tokens: Body = anonymous.call("POST", "/api/auth/login", json=credentials)["data"]
    return tokens


@pytest.fixture
def client(app: Flask, document: Document, tokens: Body) -> Client:
    """A client that sends the refresh token as its bearer token."""
    return Client(app, document, tokens["refresh_token"])


def set_session(app: Flask, **values: Any) -> None:
    with app.app_context():
        db.session.execute(sa.update(AuthSession.__table__).values(**values))
        db.session.commit()


@pytest.mark.race(ROUNDS)
def test_one_of_twenty_refreshes_in_two_processes_succeeds(app: Flask, backend: Backend, make: Make) -> None:
    """Two processes that share only the database; each round refreshes with the token of the round before."""
    credentials = {"username": make(User).username, "password": PASSWORD}
    with ExitStack() as stack:
        servers = [stack.enter_context(served(backend.settings(), REDIS_URL="")) for _ in range(2)]
        tokens = servers[0].call("POST", "/api/auth/login", body=credentials).body["data"]
        for _ in range(ROUNDS):
            used, tokens = tokens["refresh_token"], refresh_simultaneously(servers, tokens["refresh_token"])
            for server in servers:
                assert server.call("GET", "/api/auth/me", tokens["access_token"]).status == 200
        # After all responses, another use of the old token is reuse.
        assert servers[1].call("POST", REFRESH, used).body["data"]["reason"] == "token_revoked"
        for server in servers:
            assert server.call("GET", "/api/auth/me", tokens["access_token"]).status == 401
            assert server.call("POST", REFRESH, tokens["refresh_token"]).status == 401


def refresh_simultaneously(servers: list[Server], token: str) -> Body:
    """Refresh twenty times at once; returns the tokens of the only success."""
    request = encode_request("POST", REFRESH, token)
    responses = send_simultaneously([(server, request) for server in servers * 10])
    reasons = [response.body["data"].get("reason") for response in responses]
    assert sorted(map(str, reasons)) == ["None"] + ["token_exchanged"] * 19
    tokens: Body = next(response.body["data"] for response in responses if response.status == 200)
    return tokens


@pytest.mark.race
def test_one_of_twenty_simultaneously_verified_refreshes_succeeds(
    app: Flask, document: Document, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: access.Readers = app.extensions["token_readers"]
    gate = Barrier(20)

    def verify_together(claims: Any) -> Any:
        gate.wait(TIMEOUT_SECONDS)
        return readers.session(claims)

    with monkeypatch.context() as patch:
        patch.setitem(app.extensions, "token_readers", replace(readers, session=verify_together))
        answers = run_concurrently([lambda: client.call("POST", REFRESH, expect=(200, 401))] * 20)
    (winner,) = [answer["data"] for answer in answers if answer["code"] == 0]
    Client(app, document, winner["access_token"]).call("GET", "/api/auth/me")
    client.call("POST", REFRESH, expect=401)
    Client(app, document, winner["access_token"]).call("GET", "/api/auth/me", expect=401)


def test_a_refresh_that_arrived_before_the_rotation_is_no_reuse(
    app: Flask, document: Document, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was too busy to look at the session before."""
    read, thread, arrived, rotated = refresh_rotation._read_rotation, local(), Event(), Event()

    def read_late(this: Any) -> Any:
        if getattr(thread, "is_late", False):
            arrived.set()
            assert rotated.wait(TIMEOUT_SECONDS)
        return read(this)

    def refresh_late() -> Body:
        thread.is_late = True
        return client.call("POST", REFRESH, expect=401)

    def refresh() -> Body:
        assert arrived.wait(TIMEOUT_SECONDS)
        answer = client.call("POST", REFRESH)
        rotated.set()
        return answer

    monkeypatch.setattr(refresh_rotation, "_read_rotation", read_late)
    winner, late = run_concurrently([refresh, refresh_late])
    assert late["data"]["reason"] == "token_exchanged"
    Client(app, document, winner["data"]["access_token"]).call("GET", "/api/auth/me")
    assert client.call("POST", REFRESH, expect=401)["data"]["reason"] == "token_revoked"


def test_refresh_during_another_rotation_does_not_end_the_session(app: Flask, client: Client) -> None:
    set_session(app, claimed_at=utcnow())
    for _ in range(3):
        assert client.call("POST", REFRESH, expect=401)["data"] == {"reason": "token_exchanged"}
    set_session(app, claimed_at=None)
    client.call("POST", REFRESH)


def test_claim_of_a_dead_process_is_taken_over(app: Flask, client: Client) -> None:
    set_session(app, claimed_at=utcnow() - refresh_rotation.CLAIM_TIMEOUT - timedelta(seconds=1), contenders=3)
    client.call("POST", REFRESH)
    assert client.call("POST", REFRESH, expect=401)["data"]["reason"] == "token_revoked"


@pytest.fixture
def meanwhile(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Call something in another thread each time that the rotation waits."""

    def meanwhile(call: Callable[[], Any]) -> None:
        def wait(_seconds: float) -> None:
            other = Thread(target=call)
            other.start()
            other.join()

        # Its own name: other threads of the process sleep too.
        monkeypatch.setattr(refresh_rotation, "sleep", wait)

    return meanwhile


def test_rotation_takes_place_even_if_requests_keep_arriving(
    client: Client, meanwhile: Callable[[Callable[[], Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_rotation, "MAX_WAIT_SECONDS", 0.2)
    refused: list[Body] = []
    meanwhile(lambda: refused.append(client.call("POST", REFRESH, expect=401)["data"]))
    client.call("POST", REFRESH)
    assert len(refused) > 1
    assert {answer["reason"] for answer in refused} == {"token_exchanged"}


def test_session_that_ends_during_the_rotation_gets_no_tokens(
    app: Flask, client: Client, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    meanwhile(lambda: set_session(app, ended_at=utcnow()))
    assert client.call("POST", REFRESH, expect=401)["data"]["reason"] == "token_revoked"
