"""A real HTTP server, in a thread, that answers as a test wants it: properly, slowly, hugely or not in HTTP at all."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from itertools import takewhile
from typing import NamedTuple

from tests.threads import PATIENCE


class Received(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    headers: Message
    body: bytes


Behaviour = Callable[["Server", socket.socket], None]
"""What a server does with a connection after it has read the request."""


@dataclass
class Server:
    """Serves every connection in a thread of its own, until the test is over."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    asked_for: list[str | None] = field(default_factory=list)
    met: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def listening(self, address: str = "127.0.0.1") -> Iterator[int]:
        """Answers the port."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                self.released.set()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
                for thread in self._threads:
                    thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(PATIENCE)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # Whoever asks may be gone at any time.
        with connection, suppress(OSError, ValueError):
            if self.tls is None:
                self._answer(connection)
                return
            self.tls.sni_callback = lambda _socket, name, _context: self.asked_for.append(name)
            with self.tls.wrap_socket(connection, server_side=True) as secured:
                self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            method, target, _ = stream.readline().decode("latin-1").split(" ", 2)
            lines = iter(stream.readline, b"\r\n")
            # An empty line is the end of what comes: whoever asks has gone in the middle of a head.
            head = b"".join(takewhile(bool, lines))
            headers = BytesParser().parsebytes(head)
            body = stream.read(int(headers.get("Content-Length", "0")))
        self.received.append(Received(method, target, headers, body))
        self.met.set()
        self.behave(self, connection)

    def drip(self, connection: socket.socket, content: bytes, pause: float = 0.02) -> None:
        """Send one byte at a time, then nothing, until the test is over."""
        for byte in content:
            if self.released.wait(pause):
                return
            connection.sendall(bytes([byte]))
        self.released.wait(PATIENCE)


def response(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A complete answer in HTTP."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def says(content: bytes) -> Behaviour:
    """Send this, and close."""
    return lambda _, connection: connection.sendall(content)


def drips(content: bytes) -> Behaviour:
    return lambda server, connection: server.drip(connection, content)


def hangs(server: Server, _connection: socket.socket) -> None:
    server.released.wait(PATIENCE)


def floods(server: Server, connection: socket.socket) -> None:
    """Send more, as long as anybody reads."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.released.is_set():
        connection.sendall(b" " * 65536)
