"""Servers that cannot keep our promises: early versions of MariaDB and of MySQL."""

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import create_app
from app.core.db.dialects.mariadb.servers import MARIADB, MYSQL, Server, server_of
from app.core.db.schema import schema_problem
from app.core.db.unit_of_work import db
from tests import backends


@pytest.fixture
def greet_as() -> Iterator[Callable[[str], str]]:
    """A server that greets as one of a version, and hears nothing: returns its URL."""
    servers: list[socketserver.BaseServer] = []

    def start(version: str) -> str:
        greeting = (
            b"\x0a"
            + version.encode()
            + b"\0"
            + struct.pack("<I8sxHBHHB10x13s", 1, b"s" * 8, 0xF7FF, 45, 2, 0x1F, 21, b"s" * 12 + b"\0")
        )
        packet = struct.pack("<I", len(greeting))[:3] + b"\0" + greeting

        class Greeting(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(packet)
                self.request.recv(1)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeting)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return f"mariadb+pymysql://itam:canary@127.0.0.1:{server.server_address[1]}/itam"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("5.7.44", "It is MySQL 5.7.44; needed is MariaDB 10.11 or MySQL 8.0.23 or later"),
        (
            "8.0.22-0ubuntu0.20.04.2",
            "It is MySQL 8.0.22-0ubuntu0.20.04.2; needed is MariaDB 10.11 or MySQL 8.0.23 or later",
        ),
        ("5.5.5-10.6.22-MariaDB-0ubuntu1", "It is MariaDB 10.6.22; needed is MariaDB 10.11 or MySQL 8.0.23 or later"),
    ],
)
def test_another_server_is_refused(
    greet_as: Callable[[str], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: str,
    problem: str,
) -> None:
    """No password is sent to it."""
    app = create_app(backends.testing(greet_as(version), None, tmp_path, "itam-another-server"))
    sentence = f"The database cannot be used: {problem} (DATABASE_URL)."
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 1
    assert sentence in caplog.text
    with app.app_context():
        assert schema_problem(db.engine) == sentence
    ready = app.test_client().get("/api/health/ready")
    assert (ready.status_code, ready.get_json()["data"]["database"]) == (503, "down")


def test_a_query_has_no_limit_as_each_server_writes_it() -> None:
    assert MARIADB.unlimited("SELECT 1") == "SET STATEMENT max_statement_time = 0 FOR SELECT 1"
    assert MYSQL.unlimited("SELECT 1") == "SELECT /*+ MAX_EXECUTION_TIME(0) */ 1"


@pytest.mark.parametrize(
    ("version", "server"),
    [
        ("5.5.5-10.11.6-MariaDB-0+deb12u1", MARIADB),
        ("11.8.2-MariaDB", MARIADB),
        ("12.0.1-MariaDB-ubu2404-log", MARIADB),
        ("8.0.28-0ubuntu4", MYSQL),
        ("8.4.5", MYSQL),
    ],
)
def test_a_server_is_known_by_its_greeting(version: str, server: Server) -> None:
    assert server_of(version) is server
