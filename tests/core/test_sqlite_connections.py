"""Connections to SQLite: writers that wait for each other, and what is kept of the file in memory."""

from contextlib import AbstractContextManager
from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects.sqlite.connections import CACHE_KIB, LONG_CACHE_KIB
from app.core.db.unit_of_work import db, reading, writing
from tests.backends import on_sqlite
from tests.client import Client
from tests.conftest import SignIn
from tests.threads import run_concurrently

WRITERS, OBJECTS = 8, 5


def kibibytes(block: AbstractContextManager[None]) -> int:
    """The limit of the connection that this block uses."""
    with block:
        return -int(db.session.scalar(sa.text("PRAGMA cache_size")) or 0)


@on_sqlite
@pytest.mark.parametrize("block", [reading, writing])
def test_a_job_that_writes_keeps_more_and_gives_it_back(app: Flask, block: type[AbstractContextManager[None]]) -> None:
    with app.app_context():
        assert kibibytes(writing()) == LONG_CACHE_KIB
    with app.test_request_context("/", method="POST"):
        # The pool hands out the same connection.
        assert kibibytes(block()) == CACHE_KIB


def write(client: Client, name: str) -> None:
    for number in range(OBJECTS):
        body = {"name": f"{name}-{number}"}
        path = f"/api/servers/{client.call('POST', '/api/servers', json=body, expect=201)['data']['id']}"
        client.call("PATCH", path, json={"rack": "R1"})
        client.call("DELETE", path)


@on_sqlite
@pytest.mark.race
def test_of_eight_writers_none_is_refused(admin: Client, sign_in: SignIn) -> None:
    clients = [sign_in() for _ in range(WRITERS)]
    run_concurrently([partial(write, client, f"writer {number}") for number, client in enumerate(clients)])
    counts = [
        admin.call("GET", "/api/audit-logs", query_string={"resource_type": "servers", "action": action})["pagination"]
        for action in ("create", "update", "delete")
    ]
    assert [count["total"] for count in counts] == [WRITERS * OBJECTS] * 3
