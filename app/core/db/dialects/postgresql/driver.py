"""psycopg's connections, as requests use them: they leave a silent one, and send BEGIN with the first statement."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import psycopg
from flask import has_request_context
from psycopg import errors as postgres
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from app.core.db.dialects.postgresql.direct import DirectCursor, Ending
from app.core.db.dialects.silence import Silence
from app.core.db.timeouts import ANSWER_SECONDS, LONG_ANSWER_SECONDS, REPLICA_ANSWER_SECONDS, SILENT_ANSWER_SECONDS

V = TypeVar("V")


class NoAnswer(postgres.OperationalError):
    """PostgreSQL has not answered in time, such as when its processes are stopped; the connection is closed."""


class Connection(psycopg.Connection[Any]):
    """A connection that a request leaves and closes when PostgreSQL does not answer in time.

    Timeouts of the server do not apply while the server is stopped, and those of TCP not while its kernel runs.
    """

    silence: ClassVar = Silence()
    is_long = False
    """Whether statements may take LONG_ANSWER_SECONDS."""
    ending: Ending | None = None
    """What is sent with the next COMMIT."""
    ask: Callable[[], object] | None = None
    """Returns when the server answers; see `Silence`."""

    @cached_property
    def direct(self) -> DirectCursor:
        """Runs the statements that every request runs."""
        return DirectCursor(self)

    def wait(self, gen: PQGen[V], interval: float = 0.1, timeout: float | None = None) -> V:
        self.direct.run_postponed()
        if timeout is not None or not has_request_context():
            return super().wait(gen, interval, timeout)
        seconds = self._answer_seconds()
        began = time.monotonic()
        try:
            answer = super().wait(gen, interval, seconds)
        except postgres.OperationalError:
            # psycopg's exception for this is private.
            if time.monotonic() < began + seconds:
                raise
            self.pgconn.finish()
            self.silence.begin(self.ask)
            raise NoAnswer(f"PostgreSQL has not answered within {seconds} seconds.") from None
        self.silence.end()
        return answer

    def commit(self) -> None:
        """Commit; nothing is sent of a transaction without statements."""
        ending, self.ending = self.ending, None
        if self.direct.postponed is None and ending is not None:
            with self.lock:
                self.direct.commit(ending)
        elif self.direct.postponed is None:
            super().commit()
        self.direct.postponed = None

    def rollback(self) -> None:
        """Roll back; SQLAlchemy's pool does so for each connection that comes back, mostly where nothing has begun."""
        self.direct.postponed = None
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()
            self.direct.forget()
        ending, self.ending = self.ending, None
        if ending is not None:
            self.direct.release(ending)

    def is_idle(self) -> bool:
        """Whether nothing has begun on the connection, and it is not known to be lost."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE and self.direct.postponed is None

    def is_open(self) -> bool:
        """Whether the server has not closed the connection, without a round trip.

        libpq reads what has arrived: first a notice perhaps, and then the end of the stream.
        """
        try:
            self.pgconn.consume_input()
            self.pgconn.consume_input()
        except psycopg.Error:
            return False
        return True

    def _answer_seconds(self) -> float:
        return LONG_ANSWER_SECONDS if self.is_long else SILENT_ANSWER_SECONDS if self.silence else ANSWER_SECONDS


class ReplicaConnection(Connection):
    """A connection to a standby: a request leaves it early, because the primary can answer instead."""

    silence: ClassVar = Silence()
    replayed = -1
    """How far in the log of writes the standby was when it was last asked."""

    def _answer_seconds(self) -> float:
        return REPLICA_ANSWER_SECONDS
