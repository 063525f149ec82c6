"""Redis with short timeouts and a circuit breaker: it is never a reason to fail, and seldom one to wait."""

import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread, local
from typing import Any, TypeVar

import structlog
from flask import Flask
from hiredis import pack_command
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoReply
from redis.retry import Retry

from app.core.request_context import current_application

R = TypeVar("R")

OPTIONS: Any = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25, "retry": Retry(NoBackoff(), 0)}
"""Connection options: timeouts in seconds, and no retries; by default the client would block for several seconds."""
NONSENSE = (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""What the client raises where Redis is away, or where what answers is not Redis: it trusts the types of replies."""
PAUSE_SECONDS = 1.0
"""How long a Redis that has failed is left alone before it is asked again."""

log = structlog.get_logger()


class ThreadedRedis(Redis):
    """A client that keeps one connection for each thread. A command is one send and one read.

    redis-py takes a connection from a pool for each command, and adds retries and measurements. An MGET takes 57
    function calls and 41 µs of processor time here, and 143 calls and 70 µs there.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._of_thread = local()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The reply to a command. A command that fails closes the connection, so no other command reads its reply."""
        connection = self._connection()
        # What redis-py packs with the same function it first asks the type of; some of its commands are two words.
        packed = connection.pack_command(*args) if " " in args[0] else [pack_command(args)]
        try:
            connection.send_packed_command(packed, check_health=False)
            return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
        except RedisError as error:
            # What redis-py makes of the kernel's timeout is not clear.
            if isinstance(error.__context__, BlockingIOError):
                raise NoReply("Redis has not answered in time.") from error
            raise

    def _connection(self) -> Any:
        """The connection of this thread. It has no unread input, and may not be open yet: the next send opens it."""
        kept: _Kept | None = getattr(self._of_thread, "kept", None)
        # A process that was forked must not share the socket of its parent.
        if kept is None or kept.connection.pid != os.getpid():
            kept = self._of_thread.kept = _Kept(self._new_connection())
        elif kept.connection.is_connected and _has_more(kept.connection):
            kept.connection.disconnect()
        return kept.connection

    def _new_connection(self) -> Any:
        """A connection that the pool does not count: it gives out 100, and knows nothing of those that have closed."""
        pool = self.connection_pool
        return pool.connection_class(**pool.connection_kwargs)


class _Kept:
    """Closes a connection when its thread ends.

    The connection refers to itself. Without this, it would stay open until the garbage collector runs, which is rare
    here (gc_tuning.py).
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        connection.register_connect_callback(self.leave_timeouts_to_kernel)

    def leave_timeouts_to_kernel(self, connection: Any) -> None:
        """Have the kernel apply the timeout of the socket.

        Python would ask it whether there is input before it reads, and let other threads have the interpreter twice.
        """
        opened: socket.socket = connection._sock
        if seconds := opened.gettimeout():
            interval = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                opened.setsockopt(socket.SOL_SOCKET, option, interval)
            opened.settimeout(None)

    def __del__(self) -> None:
        self.connection.disconnect()


def _has_more(connection: Any) -> bool:
    """Whether a connection has input before a command is sent: the server has closed it, or sent an extra reply."""
    try:
        return bool(connection.can_read())
    except (RedisError, OSError):
        return True


class RedisCircuitBreaker:
    """Calls Redis, in all threads of the application. After a failure a thread asks it whether it is back.

    No request does: of those that come while one waits for a silent Redis, each would wait as long.
    """

    def __init__(self, ping: Callable[[], Any]) -> None:
        self._ping = ping
        self._lock = Lock()
        self._watch: Thread | None = None

    def call(self, function: Callable[..., R], *args: Any) -> R | None:
        """The result of the function; None where it fails, and at once until Redis is back."""
        # The thread does not live in a process that was forked meanwhile.
        if (watch := self._watch) is not None and watch.is_alive():
            return None
        try:
            return function(*args)
        except NONSENSE as error:
            self._leave_alone(error)
            return None

    def _leave_alone(self, error: Exception) -> None:
        with self._lock:
            if self._watch is not None and self._watch.is_alive():
                # Another request has failed at the same time.
                return
            log.warning("redis_away", error=repr(error))
            self._watch = Thread(target=self._wait_for_answer, name="redis", daemon=True)
            self._watch.start()

    def _wait_for_answer(self) -> None:
        while True:
            time.sleep(PAUSE_SECONDS)
            with suppress(*NONSENSE):
                self._ping()
                log.info("redis_back")
                return


def init_app(app: Flask) -> None:
    client = Redis.from_url(app.config["REDIS_URL"] or "redis://", **OPTIONS)
    app.extensions["redis_breaker"] = RedisCircuitBreaker(client.ping)


def attempt(function: Callable[..., R], *args: Any) -> R | None:
    """Call Redis through the application's circuit breaker; None where it is away."""
    breaker: RedisCircuitBreaker = current_application().extensions["redis_breaker"]
    return breaker.call(function, *args)
