"""An HTTP server in a thread that behaves as a test wants: correctly, slowly, endlessly, or not as HTTP at all."""

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

from tests.threads import TIMEOUT_SECONDS


class Received(NamedTuple):
    """A request that the server has read."""

    method: str
    target: str
    headers: Message
    body: bytes


Behaviour = Callable[["Server", socket.socket], None]
"""What a server does with a connection after it has read the request."""


@dataclass
class Server:
    """Serves every connection in a thread of its own, until the block of `listening` ends."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    sni_names: list[str | None] = field(default_factory=list)
    contacted: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def listening(self, address: str = "127.0.0.1") -> Iterator[int]:
        """Listen on a free port, which the context manager yields."""
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
                connection.settimeout(TIMEOUT_SECONDS)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # The client may disconnect at any time.
        with connection, suppress(OSError, ValueError):
            if self.tls is None:
                self._answer(connection)
                return
            self.tls.sni_callback = lambda _socket, name, _context: self.sni_names.append(name)
            with self.tls.wrap_socket(connection, server_side=True) as secured:
                self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            method, target, _ = stream.readline().decode("latin-1").split(" ", 2)
            lines = iter(stream.readline, b"\r\n")
            # b"" is the end of the stream: the client has disconnected within the headers.
            head = b"".join(takewhile(bool, lines))
            headers = BytesParser().parsebytes(head)
            body = stream.read(int(headers.get("Content-Length", "0")))
        self.received.append(Received(method, target, headers, body))
        self.contacted.set()
        self.behave(self, connection)

    def drip(self, connection: socket.socket, content: bytes, pause: float = 0.02) -> None:
        """Send one byte at a time, then nothing, until the server is released."""
        for byte in content:
            if self.released.wait(pause):
                return
            connection.sendall(bytes([byte]))
        self.released.wait(TIMEOUT_SECONDS)


def response(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A complete HTTP response."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def sends(content: bytes) -> Behaviour:
    """Send these bytes and close the connection."""
    return lambda _, connection: connection.sendall(content)


def drips(content: bytes) -> Behaviour:
    """Send these bytes one at a time, and keep the connection open."""
    return lambda server, connection: server.drip(connection, content)


def hangs(server: Server, _connection: socket.socket) -> None:
    """Send nothing, and keep the connection open."""
    server.released.wait(TIMEOUT_SECONDS)


def floods(server: Server, connection: socket.socket) -> None:
    """Send a body without end, as long as the client reads."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not server.released.is_set():
        connection.sendall(b" " * 65536)
