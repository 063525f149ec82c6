"""Connections of clients that send or read too slowly are ended, and no others."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from app.core.net.slow_connections import LEAST_BYTES, SCANS, SlowConnections
from tests.threads import TIMEOUT_SECONDS

ROUNDS = SCANS + 2
ESTABLISHED = 1


class Pair:
    """A connection of this process to a port of its own."""

    def __init__(self, listener: socket.socket, stack: ExitStack) -> None:
        self.client = stack.enter_context(socket.create_connection(listener.getsockname(), TIMEOUT_SECONDS))
        self.server = stack.enter_context(listener.accept()[0])
        self.server.settimeout(TIMEOUT_SECONDS)

    def send(self, count: int) -> None:
        self.client.sendall(bytes(count))
        receive(self.server, count)

    def answer(self, count: int) -> None:
        self.server.sendall(bytes(count))
        receive(self.client, count)

    @property
    def is_ended(self) -> bool:
        return self.server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


def receive(one: socket.socket, count: int) -> None:
    while count:
        count -= len(one.recv(count))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_slow_connections_are_ended(stack: ExitStack) -> None:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    silent, dripping, sending, asking, unread, reading = (Pair(listener, stack) for _ in range(6))
    for pair in (unread, reading):
        pair.server.setblocking(False)
        while select.select([], [pair.server], [], 0)[1]:
            pair.server.send(bytes(LEAST_BYTES))
    connections = SlowConnections(listener.getsockname()[1], 60)
    for _ in range(ROUNDS):
        connections.scan()
        with suppress(ConnectionError):
            dripping.client.send(b".")
        sending.send(LEAST_BYTES)
        asking.send(10)
        asking.answer(10)
        receive(reading.client, LEAST_BYTES)
        while select.select([], [reading.server], [], 0)[1]:
            reading.server.send(bytes(LEAST_BYTES))
    ended = [pair.is_ended for pair in (silent, dripping, sending, asking, unread, reading)]
    assert ended == [True, True, False, False, True, False]
