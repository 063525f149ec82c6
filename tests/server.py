"""The platform served by processes of its own, as in production, and requests to it over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple

import config
from tests.threads import TIMEOUT_SECONDS

Json = Any
START_SECONDS = 10 * TIMEOUT_SECONDS
"""Several processes that import the application one after the other: on a busy machine that has taken two minutes."""


class Response(NamedTuple):
    status: int
    body: Json
    cookies: SimpleCookie
    """Those that the answer sets."""


class Server:
    """A server on a local port."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        """Of the process that has started the others."""

    def wait(self, path: str = "/api/health") -> None:
        """Return once the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                with closing(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)) as connection:
                    connection.request("GET", path)
                    connection.getresponse()
                return
            time.sleep(0.05)
        raise TimeoutError(f"The server did not answer on port {self.port} within {START_SECONDS} seconds.")

    def call(self, method: str, path: str, token: str | None = None, body: Json = None) -> Response:
        (response,) = send_simultaneously([(self, encode_request(method, path, token, body))])
        return response


def send_simultaneously(requests: Sequence[tuple[Server, bytes]]) -> list[Response]:
    """The responses to requests that arrive within a millisecond, each over a connection of its own.

    All of them are sent but for their last byte before the first one is completed.
    """
    with ExitStack() as stack:
        connections = []
        for server, content in requests:
            connection = socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append(stack.enter_context(connection))
            connection.sendall(content[:-1])
        for connection, (_, content) in zip(connections, requests, strict=True):
            connection.sendall(content[-1:])
        return [read_response(connection) for connection in connections]


def encode_request(
    method: str, path: str, token: str | None = None, body: Json = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def read_response(connection: socket.socket) -> Response:
    with HTTPResponse(connection) as response:
        response.begin()
        cookies = SimpleCookie("; ".join(response.headers.get_all("Set-Cookie", [])))
        return Response(response.status, json.load(response), cookies)


@contextmanager
def served(settings: config.Config, root: Path = config.ROOT, **environ: str) -> Iterator[Server]:
    """Serve the platform, or a copy of it at `root`, on the database of these settings until the block ends."""
    port = free_port()
    command = [sys.executable, root / "run.py"]
    env = {**environment(settings), "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}", **environ}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            server = Server(port, process.pid)
            server.wait()
            yield server
        finally:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


def environment(settings: config.Config) -> dict[str, str]:
    """The environment of a process that uses the database and files of these settings, but no Redis."""
    names = ("PATH", "HOME")
    inherited: Mapping[str, str] = {name: os.environ[name] for name in names if name in os.environ}
    return {
        **inherited,
        "FLASK_ENV": "testing",
        "DATABASE_URL": settings.SQLALCHEMY_DATABASE_URI,
        "REDIS_PREFIX": settings.REDIS_PREFIX,
        "UPLOAD_DIR": str(settings.UPLOAD_DIR),
        "AUDIT_CHECKPOINTS": str(settings.AUDIT_CHECKPOINTS),
        "LOG_LEVEL": "ERROR",
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
