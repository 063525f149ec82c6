"""Connections: how they begin a transaction, and how long a request waits for an answer or for somebody else's lock.

Jobs and commands wait longer than requests: nobody is there to send them again.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from flask import has_request_context
from psycopg import errors as postgres
from psycopg.abc import PQGen
from sqlalchemy.exc import InvalidatePoolError

from app.core.db.cursors import PostgresCursor, PostgresServerCursor
from app.core.db.engines import BEGIN, Access

V = TypeVar("V")

ANSWER_SECONDS = 4.0
"""How long a request waits for the result of one statement."""
LONG_ANSWER_SECONDS = 30.0
"""The same for a statement of a read that goes through many rows, such as an export; PostgreSQL's own limit for all."""
SILENT_ANSWER_SECONDS = 0.25
"""The same shortly after a request has waited in vain: else requests that queue for a thread would add up the waits."""
SILENCE_SECONDS = 1.0
"""How long PostgreSQL counts as silent after a request has waited for it in vain, unless it answers another one."""
LOCK_SECONDS = 2.0
"""How long a request waits for a lock."""
LONG_LOCK_SECONDS = {"postgresql": 10.0, "sqlite": 30.0}
"""The same for a job or command; SQLite has one lock for all writers."""
MIGRATION_LOCK_SECONDS = "migration_lock_seconds"
"""The execution option of a migration's connection on PostgreSQL: how long its statements wait for a table."""
POLL_SECONDS = 0.005
PRIMARY_CODE = 0xFF
"""The bits of SQLite's extended result codes that say what kind of error it is."""


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

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory, self.server_cursor_factory = PostgresCursor, PostgresServerCursor

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


def connect(dialect: sa.Dialect, _record: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Listener: connect to PostgreSQL; at once raises NoAnswer for a request while it is silent."""
    if dialect.name != "postgresql":
        return None
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


def check_liveness(connection: Any, _record: Any, _fairy: Any) -> None:
    """Listener: replace a connection that the server has closed, without a round trip.

    libpq reads what has arrived: first a notice perhaps, and then the end of the stream.
    """
    if isinstance(connection, psycopg.Connection):
        try:
            connection.pgconn.consume_input()
            connection.pgconn.consume_input()
        except psycopg.Error as error:
            raise InvalidatePoolError from error


def begin(connection: sa.Connection) -> None:
    """Listener: begin the transaction of a block, except one that only reads each statement by itself."""
    access = connection.get_execution_options().get("access", "write")
    driver = connection.connection.driver_connection
    if isinstance(driver, Connection):
        driver.is_long = access == "snapshot"
    if access != "read":
        _BEGINNINGS[connection.dialect.name](connection, access)


def _begin_on_postgresql(connection: sa.Connection, access: Access) -> None:
    """Begin a transaction; one of a job or command waits longer for locks than its connection, which is a request's.

    Both statements are sent together, which costs no further round trip.
    """
    statement = BEGIN["postgresql"][access]
    lock_seconds = connection.get_execution_options().get(MIGRATION_LOCK_SECONDS)
    if lock_seconds is not None:
        # An index of a large table takes longer than any other statement may.
        statement += f"; SET LOCAL lock_timeout = '{lock_seconds}s'; SET LOCAL statement_timeout = 0"
    elif not has_request_context():
        statement += f"; SET LOCAL lock_timeout = '{LONG_LOCK_SECONDS['postgresql']:.0f}s'"
    connection.exec_driver_sql(statement)


def _begin_on_sqlite(connection: sa.Connection, access: Access) -> None:
    """Begin a transaction, waiting for the lock of all writers if it is one.

    SQLite itself would ask at growing intervals of up to a tenth of a second: of eight writers one could wait for many
    turns of the others.
    """
    statement = BEGIN["sqlite"][access]
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + (LOCK_SECONDS if has_request_context() else LONG_LOCK_SECONDS["sqlite"])
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql(statement)
    except sa.exc.OperationalError as error:
        while not _has_begun(driver, statement, error):
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SECONDS)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000:.0f}")


def _has_begun(driver: sqlite3.Connection, statement: str, error: sa.exc.OperationalError) -> bool:
    """Try again to begin a transaction after this error; raises it unless another connection is writing."""
    if getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY_CODE != sqlite3.SQLITE_BUSY:
        raise error
    try:
        driver.execute(statement)
    except sqlite3.OperationalError:
        return False
    return True


_BEGINNINGS = {"sqlite": _begin_on_sqlite, "postgresql": _begin_on_postgresql}
