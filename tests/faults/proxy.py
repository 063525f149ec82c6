"""A TCP proxy that falls silent, is cut, or changes what is passed on, before a real server."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536
OFFERS_TLS = 0x08
"""The bit in the second byte of the capabilities that MySQL greets with."""

Edit = Callable[[bytes], bytes | None]
"""What is passed on instead of these bytes; None cuts the connection."""
MakeEdits = Callable[[], tuple[Edit, Edit]]
"""Makes the edits of requests and of replies of one connection."""


def unchanged(content: bytes) -> bytes:
    return content


class Proxy:
    """Passes connections to a server on."""

    def __init__(self, target: tuple[str, int], edits: MakeEdits = lambda: (unchanged, unchanged)) -> None:
        self._target = target
        self.edits = edits
        """Of the connections that are made from now on."""
        self.passed = 0
        """How many pieces have arrived, from either side."""
        self._is_cut = False
        self._passing = threading.Event()
        self._passing.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Listen on a free port of this machine, which the context manager yields."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            accepting = threading.Thread(target=self._accept, args=(listener,))
            accepting.start()
            try:
                yield listener.getsockname()[1]
            finally:
                self._passing.set()
                listener.shutdown(socket.SHUT_RDWR)
                accepting.join()
                self.cut()
                for thread in self._threads:
                    thread.join()
                for one in self._sockets:
                    one.close()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile connections stay open and new ones are accepted, but nothing is passed on."""
        self._passing.clear()
        try:
            yield
        finally:
            self._passing.set()

    def cut(self) -> None:
        """Cut all connections, and new ones at once, until `mend`."""
        self._is_cut = True
        self.cut_once()

    def cut_once(self) -> None:
        """Cut all connections."""
        for one in tuple(self._sockets):
            _shut_down(one)

    def mend(self) -> None:
        self._is_cut = False

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._sockets.append(client)
                server = None if self._is_cut else self._connect()
                if server is None:
                    _shut_down(client)
                    continue
                self._sockets.append(server)
                requests, replies = self.edits()
                for source, sink, edit in ((client, server, requests), (server, client, replies)):
                    self._threads.append(threading.Thread(target=self._pass, args=(source, sink, edit)))
                    self._threads[-1].start()
                # It may have been cut since the connection to the server was made.
                if self._is_cut:
                    self.cut_once()

    def _connect(self) -> socket.socket | None:
        """A connection to the server, or None where it is away."""
        try:
            return socket.create_connection(self._target)
        except OSError:
            return None

    def _pass(self, source: socket.socket, sink: socket.socket, edit: Edit) -> None:
        with suppress(OSError):
            while content := source.recv(CHUNK_BYTES):
                self._passing.wait()
                self.passed += 1
                edited = edit(content)
                if edited is None:
                    break
                sink.sendall(edited)
        for one in (source, sink):
            _shut_down(one)


def _shut_down(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def unencrypted(content: bytes) -> bytes:
    """A reply; the greeting of MySQL without its offer of TLS, because what is encrypted cannot be edited."""
    # Length and number of the packet, protocol, version, thread and salt; its capabilities follow.
    match = re.match(rb".{3}\x00\x0a[^\x00]+\x00.{13}", content, re.DOTALL)
    if match is None:
        return content
    low, high = content[match.end() : match.end() + 2]
    return content[: match.end()] + bytes((low, high & ~OFFERS_TLS)) + content[match.end() + 2 :]


def place_of(url: str, default_port: int) -> tuple[str, int]:
    """The host and the port that a URL names."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or default_port
