"""Clients that send slowly or not at all hold up nobody else, and those who take all connections leave no trace."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from flask import Flask

import run
from app.core.http.limits import turns
from tests.backends import Backend
from tests.client import Client
from tests.load.faults import workers
from tests.server import Server, served
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = any_database

MORE_THAN_PLACES = run.PLACES + 4
DESCRIPTORS = 10
"""How many more files and connections a process may open."""
HEAD = b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BEGINNINGS = (
    b"",
    b"POST /api/au",
    HEAD + b"X-A",
    HEAD + b"Content-Length: 1000\r\n\r\n",
    HEAD + b'Content-Length: 1000\r\n\r\n{"username":',
    HEAD + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"userna\r\n',
    HEAD + b"Content-Length: 40000000\r\n\r\n" + b" " * (2 * turns.BUFFER_BYTES),
)
"""What a client sends before it falls silent; the last one is read while it arrives."""


@contextmanager
def connections(server: Server, content: bytes) -> Iterator[None]:
    """More connections than requests may work at a time, each of which has sent this and sends nothing more."""
    with ExitStack() as stack:
        for _ in range(MORE_THAN_PLACES):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS))
            connection.sendall(content)
        yield


def assert_works(server: Server, token: str | None) -> None:
    assert server.call("GET", "/api/health").status == 200
    assert server.call("GET", "/api/auth/me", token).status == 200
    assert server.call("POST", "/api/datacenters", token, {}).status == 422


def test_slow_clients_and_those_who_take_all_connections(app: Flask, backend: Backend, admin: Client) -> None:
    """One test for both: to start a server takes longer than either."""
    with served(backend.settings()) as server:
        with ExitStack() as stack:
            for content in BEGINNINGS:
                stack.enter_context(connections(server, content))
                assert_works(server, admin.token)
        assert_works(server, admin.token)
        (worker,) = workers(server)
        with limited(worker), ExitStack() as stack:
            established = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
            stack.callback(established.close)
            assert get(established, "/api/health", None) == 200

            def has_no_more() -> bool:
                """One more each time: connections that were open a moment ago may have been counted."""
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS))
                return descriptors(worker) >= resource.prlimit(worker, resource.RLIMIT_NOFILE)[0]

            wait_until(has_no_more)
            # A request may need a file or a connection of its own.
            for path in ("/api/health", "/api/auth/me", "/api/servers", "/api/servers/export?format=csv"):
                assert get(established, path, admin.token) in (200, 503)
        wait_until(lambda: get_once(server, "/api/health/ready") == 200)
        assert_works(server, admin.token)
        assert workers(server) == [worker]


def test_slow_clients_do_not_keep_the_threads(app: Flask, backend: Backend, admin: Client) -> None:
    """As many as there are threads hold them until the limit of time."""
    with served(backend.settings(), SLOW_CLIENT_SECONDS="4") as server, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS))
            for _ in range(run.THREADS + 4)
        ]
        for connection in slow:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        for connection in slow:
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert_works(server, admin.token)


def get(connection: HTTPConnection, path: str, token: str | None) -> int:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    response.read()
    return response.status


def get_once(server: Server, path: str) -> int:
    return server.call("GET", path).status


@contextmanager
def limited(pid: int) -> Iterator[None]:
    """Let a process open DESCRIPTORS more."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + DESCRIPTORS, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
