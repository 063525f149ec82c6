"""Generated requests to every operation of the OpenAPI document, sent to a real server.

`make fuzz` sends many more than `make test`.
"""

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app.catalog import CATALOG
from app.core.http.access import Role
from app.proof.report import Status
from app.proof.verification import verify
from tests.backends import Backend
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.fuzz.requests import generate, generate_few
from tests.fuzz.run import Run
from tests.openapi import Document
from tests.replay import assert_log_matches_tables
from tests.server import Server, served
from tests.spread import any_database

OBJECTS = 5


@pytest.fixture
def server(app: Flask, backend: Backend, make: Make) -> Iterator[Server]:
    """A server, with job workers where there is Redis, on a database that holds some objects of every resource."""
    for resource in CATALOG.values():
        for _ in range(OBJECTS):
            make(resource.model, full=True)
    redis_url = app.config["REDIS_URL"] or ""
    with served(
        backend.settings(), REDIS_URL=redis_url, JOB_WORKERS="1" if redis_url else "0", REGISTRATION_ENABLED="true"
    ) as server:
        yield server


@any_database
def test_every_answer_is_as_documented(
    app: Flask, backend: Backend, server: Server, document: Document, sign_in: SignIn, request: Any
) -> None:
    """No error of the server, no answer outside the document, no secret; and the log tells what was changed."""

    def sign_in_as(role: str) -> str:
        client: Client = sign_in(role=Role(role))
        assert client.token is not None
        return client.token

    run = Run(server, document, sign_in_as)
    seed, count = request.config.getoption("fuzz_seed"), request.config.getoption("fuzz_requests")
    many = itertools.islice(generate(document, run.known, seed, cases=4), count)
    run.try_all(many if count else generate_few(document, run.known, seed))
    report = "\n".join((f"{backend.name}, seed {seed}", *run.lines()))
    sys.stdout.write(f"\n{report}\n")
    assert run.faults == {}, report
    assert_log_matches_tables(app)
    with app.app_context():
        verified = verify()
    assert verified.status is Status.INTACT, list(verified.lines())
