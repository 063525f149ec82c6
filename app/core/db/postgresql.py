"""Connections to PostgreSQL that a request leaves when no answer comes in time."""

import time
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from flask import has_request_context
from psycopg import errors as postgres
from psycopg.abc import PQGen

from app.core.db.timeouts import ANSWER_SECONDS, LONG_ANSWER_SECONDS, SILENCE_SECONDS, SILENT_ANSWER_SECONDS

V = TypeVar("V")


class NoAnswer(postgres.OperationalError):
    """PostgreSQL has not answered in time, such as when its processes are stopped; the connection is closed."""


class Silence:
    """Whether PostgreSQL has just failed to answer a request of this process."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def begin(self) -> None:
        self._ends_at = time.monotonic() + SILENCE_SECONDS

    def end(self) -> None:
        self._ends_at = 0.0

    def __bool__(self) -> bool:
        return time.monotonic() < self._ends_at


_silence = Silence()


class Connection(psycopg.Connection[Any]):
    """A connection that a request leaves and closes when PostgreSQL does not answer in time.

    Timeouts of the server do not apply while the server is stopped, and those of TCP not while its kernel runs.
    """

    is_long = False
    """Whether statements may take LONG_ANSWER_SECONDS."""

    def wait(self, gen: PQGen[V], interval: float = 0.1, timeout: float | None = None) -> V:
        if timeout is not None or not has_request_context():
            return super().wait(gen, interval, timeout)
        seconds = LONG_ANSWER_SECONDS if self.is_long else SILENT_ANSWER_SECONDS if _silence else ANSWER_SECONDS
        began = time.monotonic()
        try:
            answer = super().wait(gen, interval, seconds)
        except postgres.OperationalError:
            # psycopg's exception for this is private.
            if time.monotonic() < began + seconds:
                raise
            self.pgconn.finish()
            _silence.begin()
            raise NoAnswer(f"PostgreSQL has not answered within {seconds} seconds.") from None
        _silence.end()
        return answer


def connect(*arguments: Any, **options: Any) -> Connection:
    """Connect to PostgreSQL; at once raises NoAnswer for a request while it is silent."""
    if _silence and has_request_context():
        raise NoAnswer("PostgreSQL has not answered a moment ago.")
    try:
        return Connection.connect(*arguments, **options)
    except postgres.ConnectionTimeout:
        _silence.begin()
        raise


def keep_pool(context: sa.engine.ExceptionContext) -> None:
    """Listener: keep the other connections of the pool where one has not answered.

    The server may be well and the statement slow: then the next statement on another connection ends the silence.
    """
    if _silence and context.is_disconnect:
        context.invalidate_pool_on_disconnect = False
