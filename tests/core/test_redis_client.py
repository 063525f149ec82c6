"""Each thread keeps a connection to Redis: it ends with the thread, and no command reads the reply to another one."""

import gc
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from app.core.cache.redis_client import OPTIONS, ThreadedRedis
from tests.backends import REDIS_URL, Missing, require_redis
from tests.conftest import leave_out
from tests.threads import TIMEOUT_SECONDS, wait_until

NAME = "a-test-of-connections"
BARE: Any = {"protocol": 2, "driver_info": None}
"""Without a handshake."""


@pytest.fixture
def client() -> redis.Redis:
    try:
        require_redis()
    except Missing as missing:
        leave_out(missing)
    return ThreadedRedis.from_url(REDIS_URL, client_name=NAME, **OPTIONS)


def connections() -> list[int]:
    """The numbers by which the server knows the connections of the clients of this test."""
    with redis.Redis.from_url(REDIS_URL) as other:
        return [int(each["id"]) for each in other.client_list() if each["name"] == NAME]


def test_a_thread_keeps_its_connection_and_closes_it_at_its_end(client: redis.Redis) -> None:
    assert client.mget(["none"]) == [None]
    (own,) = connections()
    gc.disable()
    try:
        for _ in range(3):
            thread = threading.Thread(target=lambda: (client.mget(["none"]), client.mget(["none"])))
            thread.start()
            thread.join(TIMEOUT_SECONDS)
        wait_until(lambda: connections() == [own])
    finally:
        gc.enable()
    assert client.mget(["none"]) == [None]
    assert connections() == [own]


def test_any_number_of_threads_have_a_connection_one_after_the_other(client: redis.Redis) -> None:
    """The pool of redis-py gives out 100, those that have been closed included."""
    answers: list[list[Any]] = []
    for _ in range(150):
        thread = threading.Thread(target=lambda: answers.append(client.mget(["none"])))
        thread.start()
        thread.join(TIMEOUT_SECONDS)
    assert answers == [[None]] * 150


def test_a_connection_that_the_server_has_closed_is_replaced(client: redis.Redis) -> None:
    client.mget(["none"])
    (own,) = connections()
    with redis.Redis.from_url(REDIS_URL) as other:
        other.client_kill_filter(_id=str(own))
    assert client.mget(["none"]) == [None]
    assert connections() not in ([], [own])


@contextmanager
def says_too_much() -> Iterator[int]:
    """A server that answers each command twice: returns its port."""

    class Twice(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            commands = 0
            while self.request.recv(4096):
                commands += 1
                self.request.sendall(b":%d\r\n" % commands + b":-1\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Twice) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(TIMEOUT_SECONDS)


def test_no_command_reads_a_reply_that_nobody_has_asked_for() -> None:
    with says_too_much() as port:
        client = ThreadedRedis(host="127.0.0.1", port=port, **OPTIONS, **BARE)
        assert [client.incr("n") for _ in range(3)] == [1, 1, 1]


def test_a_late_reply_is_not_read_by_the_next_command() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = ThreadedRedis(host="127.0.0.1", port=listener.getsockname()[1], **OPTIONS, **BARE)
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    first, _ = listener.accept()
    first.sendall(b":1\r\n")

    def answer() -> None:
        second, _ = listener.accept()
        with second:
            second.recv(4096)
            second.sendall(b":2\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with first, listener:
        assert client.incr("n") == 2
        thread.join(TIMEOUT_SECONDS)
