"""The platform as it is really served: processes of its own, asked over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from typing import Any, NamedTuple

import config
from tests.threads import PATIENCE

Json = Any


class Answer(NamedTuple):
    status: int
    body: Json


class Server:
    """A server at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def wait(self) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                self.ask("GET", "/api/health")
                return
            time.sleep(0.05)
        raise TimeoutError("The server did not start.")

    def ask(self, method: str, path: str, token: str | None = None, body: Json = None) -> Answer:
        (answer,) = ask_together([(self, request(method, path, token, body))])
        return answer


def ask_together(questions: Sequence[tuple[Server, bytes]]) -> list[Answer]:
    """Answers to requests that are there within a millisecond, each over a connection of its own.

    All of them have arrived but for their last byte before the first one is complete.
    """
    with ExitStack() as stack:
        connections = []
        for server, content in questions:
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append(stack.enter_context(connection))
            connection.sendall(content[:-1])
        for connection, (_, content) in zip(connections, questions, strict=True):
            connection.sendall(content[-1:])
        return [read_answer(connection) for connection in connections]


def request(method: str, path: str, token: str | None = None, body: Json = None) -> bytes:
    """A request as it travels."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def read_answer(connection: socket.socket) -> Answer:
    with HTTPResponse(connection) as response:
        response.begin()
        return Answer(response.status, json.load(response))


@contextmanager
def served(settings: config.Config, **environ: str) -> Iterator[Server]:
    """Serve the platform on the database of these settings for as long as the block lasts."""
    port = free_port()
    command = [sys.executable, config.ROOT / "run.py"]
    env = {**environment(settings), "PORT": str(port), **environ}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            server = Server(port)
            server.wait()
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE)


def environment(settings: config.Config) -> dict[str, str]:
    """The variables of a process of ours that works on the database and the files of these settings, without Redis."""
    inherited: Mapping[str, str] = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
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
