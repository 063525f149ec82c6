"""A database that is killed, out of connections or on a full disk: 503 meanwhile, and nothing is half done."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import flask_migrate
import pytest
from flask import Flask

from app import create_app
from app.core.db.schema import MIGRATIONS
from app.core.http.access import Role
from app.proof.report import Status
from app.proof.sealer import seal
from app.proof.verification import verify
from app.users.models import User
from tests import backends
from tests.backends import LEFT_OUT, Backend, on_servers, on_sqlite
from tests.client import PASSWORD, Client
from tests.conftest import close
from tests.factories import Make
from tests.faults.conftest import OwnServer
from tests.openapi import Document
from tests.replay import assert_log_matches_tables
from tests.threads import wait_until

DATACENTERS = "/api/datacenters"
DISK = {"sqlite": "48m", "postgresql": "48m", "mariadb": "160m"}
ROWS = 20
LARGE = "x" * 5000
"""A description that takes a page of a table for itself."""


class Limited(NamedTuple):
    """An application on a database of the cluster, and an administrator of it."""

    app: Flask
    client: Client
    cluster: OwnServer
    database: str


@contextmanager
def on_cluster(cluster: OwnServer, document: Document, directory: Path, options: str = "") -> Iterator[Limited]:
    with cluster.database(options) as name, application(cluster.url(name), document, directory) as (app, client):
        yield Limited(app, client, cluster, name)


@contextmanager
def application(url: str, document: Document, directory: Path) -> Iterator[tuple[Flask, Client]]:
    """An application on a database that is migrated, and an administrator of it."""
    app = create_app(backends.testing(url, None, directory / "uploads", "itam-limited"))
    with app.app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
    user = Make(app)(User, role=Role.ADMIN)
    credentials = {"username": user.username, "password": PASSWORD}
    token = Client(app, document).call("POST", "/api/auth/login", json=credentials)["data"]["access_token"]
    yield app, Client(app, document, token, user)
    close(app)


@pytest.fixture
def limited(cluster: OwnServer, document: Document, tmp_path: Path) -> Iterator[Limited]:
    with on_cluster(cluster, document, tmp_path) as limited:
        yield limited


def create(client: Client, name: str, *expect: int) -> bool:
    """Create a datacenter; whether that was acknowledged."""
    body = {"name": name, "description": LARGE}
    response = client.send("POST", DATACENTERS, json=body, expect=expect)
    assert response.status_code != 503 or int(response.headers["Retry-After"]) > 0
    return response.status_code == 201


def assert_away(client: Client) -> None:
    """Assert that nothing works, and that every answer says so and when to come back."""
    credentials = {"username": client.user.username, "password": PASSWORD}
    assert not create(client, "lost", 503)
    for method, path, body in (
        ("GET", DATACENTERS, None),
        ("POST", "/api/auth/login", credentials),
        ("GET", "/api/health/ready", None),
    ):
        response = client.send(method, path, expect=503, **({"json": body} if body else {}))
        assert int(response.headers["Retry-After"]) > 0
    client.call("GET", "/api/health")


def assert_holds(app: Flask, client: Client, names: list[str]) -> None:
    """Assert that these datacenters exist and no other, each with its record, and that the log is intact."""
    listed = client.call("GET", f"{DATACENTERS}?page_size=100&fields=name&sort=id")["data"]
    assert [row["name"] for row in listed] == names
    assert_log_matches_tables(app)
    with app.app_context():
        seal()
        report = verify()
    assert report.status is Status.INTACT, list(report.lines())


@on_servers
def test_a_server_that_is_killed_and_started_again(limited: Limited) -> None:
    names = []
    for turn in range(2):
        names.append(f"before {turn}")
        assert create(limited.client, names[-1], 201)
        limited.cluster.stop()
        assert_away(limited.client)
        limited.cluster.start()
        # A read is repeated on a new connection; before a write, each connection of the pool is tried.
        if turn:
            limited.client.call("GET", DATACENTERS)
        names.append(f"after {turn}")
        assert create(limited.client, names[-1], 201)
    assert_holds(limited.app, limited.client, names)


@on_servers
def test_a_server_out_of_connections(limited: Limited) -> None:
    assert create(limited.client, "before", 201)
    close(limited.app)
    with limited.cluster.occupied(limited.database):
        assert_away(limited.client)
    close(limited.app)
    # A session ends a moment after its connection.
    wait_until(lambda: limited.cluster.count_other_sessions() == 0)
    assert create(limited.client, "after", 201)
    assert_holds(limited.app, limited.client, ["before", "after"])


@pytest.fixture
def disk(backend: Backend) -> Iterator[Path]:
    """A file system in which the database has some room."""
    # Not below pytest's directory, which the server cannot enter.
    disk = Path(tempfile.mkdtemp(prefix="itam-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK[backend.name]},mode=755", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        disk.rmdir()
        pytest.skip(f"{LEFT_OUT}no file system can be mounted here.")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


@on_servers
def test_a_full_disk_of_a_server(cluster: OwnServer, document: Document, disk: Path, tmp_path: Path) -> None:
    with cluster.on_disk(disk) as (server, option), on_cluster(server, document, tmp_path, option) as limited:
        fill_and_free(limited.app, limited.client, disk)


@on_sqlite
def test_a_full_disk_of_sqlite(document: Document, disk: Path, tmp_path: Path) -> None:
    with application(f"sqlite:///{disk}/itam.db", document, tmp_path) as (app, client):
        fill_and_free(app, client, disk)


def fill_and_free(app: Flask, client: Client, disk: Path) -> None:
    """Write until the disk of the database is full, and again when there is room."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    # A few rows still fit into the pages that there are.
    answers = [(name, create(client, name, 201, 503)) for name in map("site {}".format, range(ROWS))]
    names = [name for name, is_stored in answers if is_stored]
    assert len(names) < ROWS
    assert len(client.call("GET", DATACENTERS)["data"]) == len(names)
    filler.unlink()
    assert create(client, "afterwards", 201)
    assert_holds(app, client, [*names, "afterwards"])
