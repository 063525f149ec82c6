"""Connections and cursors of both drivers: how they begin a transaction, wait for a lock, and count statements.

Jobs and commands wait longer than requests: nobody is there to send them again.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import psycopg
import sqlalchemy as sa
from flask import has_request_context
from prometheus_client import Gauge
from sqlalchemy.exc import InvalidatePoolError

from app.core.db import postgresql
from app.core.db.postgresql import Connection
from app.core.db.slow_statements import FLOOR_SECONDS, report_slow
from app.core.db.timeouts import LOCK_SECONDS, LONG_LOCK_SECONDS, MIGRATION_LOCK_SECONDS

Access = Literal["write", "read", "snapshot"]
"""What a connection is for, its execution option `access`: "read" sees each statement's own moment and holds nothing
between them, "snapshot" sees one moment throughout."""

POLL_SECONDS = 0.005
PRIMARY_CODE = 0xFF
"""The bits of SQLite's extended result codes that say what kind of error it is."""


connections_in_use = Gauge(
    "itam_database_connections_in_use",
    "Connections that are taken from the pool.",
    multiprocess_mode="livesum",
)


class Counts(threading.local):
    """What this thread has sent to databases since it began; a request is the difference of two readings."""

    statements = 0
    rows = 0
    """Rows that were read or changed."""
    trace: list[tuple[str, int, float]] | None = None
    """Where tracing is on: each statement with the nanosecond of its end and its seconds."""


counts = Counts()


def count_copied(rows: int) -> None:
    """Count a COPY, which no method of a cursor sees as a whole."""
    counts.statements += 1
    counts.rows += rows


class PostgresCursor(psycopg.Cursor[Any]):
    """psycopg's cursor; all rows have arrived when `execute` returns."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> "PostgresCursor":
        began = time.perf_counter()
        try:
            return super().execute(query, params, **options)
        finally:
            _count(self, query, params, time.perf_counter() - began)

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        began = time.perf_counter()
        try:
            super().executemany(query, params_seq, **options)
        finally:
            _count(self, query, None, time.perf_counter() - began)


class PostgresServerCursor(psycopg.ServerCursor[Any]):
    """psycopg's cursor of a query whose rows are fetched in parts."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> "PostgresServerCursor":
        began = time.perf_counter()
        super().execute(query, params, **options)
        _count(self, query, None, time.perf_counter() - began)
        return self

    def fetchmany(self, size: int = 0) -> list[Any]:
        return _counted(super().fetchmany(size))

    def fetchall(self) -> list[Any]:
        return _counted(super().fetchall())


class SqliteCursor(sqlite3.Cursor):
    """SQLite's cursor. It computes rows while they are fetched, so a slow query may be slow there."""

    _sent: tuple[str, Any] = ("", None)
    _seconds = 0.0

    def execute(self, sql: str, parameters: Any = ()) -> "SqliteCursor":
        began = time.perf_counter()
        self._sent = sql, parameters
        try:
            return super().execute(sql, parameters)
        finally:
            self._seconds = time.perf_counter() - began
            _count(self, sql, parameters, self._seconds)

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any]) -> "SqliteCursor":
        began = time.perf_counter()
        try:
            return super().executemany(sql, seq_of_parameters)
        finally:
            _count(self, sql, None, time.perf_counter() - began)

    def fetchone(self) -> Any:
        row = super().fetchone()
        if row is not None:
            counts.rows += 1
        return row

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return self._fetched(super().fetchmany, size)

    def fetchall(self) -> list[Any]:
        return self._fetched(super().fetchall)

    def _fetched(self, fetch: Any, *arguments: Any) -> list[Any]:
        began = time.perf_counter()
        rows: list[Any] = fetch(*arguments)
        seconds = time.perf_counter() - began
        if seconds > FLOOR_SECONDS:
            report_slow(self, *self._sent, self._seconds + seconds)
        return _counted(rows)


class SqliteConnection(sqlite3.Connection):
    """A connection with counting cursors; `execute`, which prepares connections, does not count."""

    queue: "WriterQueue"
    turn: threading.Event | None = None
    """The turn to write that the connection has taken in the queue."""

    def cursor(self, factory: Any = SqliteCursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        return sqlite3.Cursor(self).execute(sql, parameters)


def _counted(rows: list[Any]) -> list[Any]:
    counts.rows += len(rows)
    return rows


def _count(cursor: Any, query: Any, parameters: Any, seconds: float) -> None:
    counts.statements += 1
    # SQLite knows it of changes only, and a server-side cursor of nothing.
    if cursor.rowcount > 0:
        counts.rows += cursor.rowcount
    if counts.trace is not None:
        counts.trace.append((str(query), time.time_ns(), seconds))
    if seconds > FLOOR_SECONDS:
        report_slow(cursor, query, parameters, seconds)


def connect(dialect: sa.Dialect, _record: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Connection:
    """Listener: connect to PostgreSQL; at once raises NoAnswer for a request while it is silent."""
    connection = postgresql.connect(*arguments, **options)
    connection.cursor_factory, connection.server_cursor_factory = PostgresCursor, PostgresServerCursor
    return connection


def check_out(connection: Any, _record: Any, _fairy: Any) -> None:
    """Listener: replace a connection that the server has closed, without a round trip, and count the one that is taken.

    libpq reads what has arrived: first a notice perhaps, and then the end of the stream.
    """
    if isinstance(connection, psycopg.Connection):
        try:
            connection.pgconn.consume_input()
            connection.pgconn.consume_input()
        except psycopg.Error as error:
            raise InvalidatePoolError from error
    connections_in_use.inc()


def check_in(connection: Any, _record: Any) -> None:
    """Listener: count a connection that goes back to the pool, and end its turn to write."""
    connections_in_use.dec()
    if isinstance(connection, SqliteConnection) and connection.turn is not None:
        connection.queue.leave(connection.turn)
        connection.turn = None


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
    statement = "BEGIN" if access == "write" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    lock_seconds = connection.get_execution_options().get(MIGRATION_LOCK_SECONDS)
    if lock_seconds is not None:
        # An index of a large table takes longer than any other statement may.
        statement += f"; SET LOCAL lock_timeout = '{lock_seconds}s'; SET LOCAL statement_timeout = 0"
    elif not has_request_context():
        statement += f"; SET LOCAL lock_timeout = '{LONG_LOCK_SECONDS['postgresql']:.0f}s'"
    connection.exec_driver_sql(statement)


class WriterQueue:
    """The turns of the threads of a process to write to SQLite, in the order in which they have asked for one.

    Without it a thread that has just written is often the next one too, while others wait for many of its turns: with
    eight clients the 95th percentile of a creation was 209 ms, its median 13.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: deque[threading.Event] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    def take(self, seconds: float) -> threading.Event:
        """Wait for a turn, at most so long; whoever has waited in vain keeps their place until they `leave`."""
        turn = threading.Event()
        with self._lock:
            self._turns.append(turn)
            self._turns[0].set()
        turn.wait(seconds)
        return turn

    def leave(self, turn: threading.Event) -> None:
        """End a turn, or give the place up."""
        with self._lock:
            self._turns.remove(turn)
            if self._turns:
                self._turns[0].set()


_writers: WeakKeyDictionary[sa.Pool, WriterQueue] = WeakKeyDictionary()


def _begin_on_sqlite(connection: sa.Connection, access: Access) -> None:
    """Begin a transaction, waiting for the lock of all writers if it is one: those of this process in their order.

    For the lock of another process SQLite itself would ask at growing intervals of up to a tenth of a second.
    """
    # The write lock is taken at once: an upgrade from read to write fails whatever the timeout.
    statement = "BEGIN IMMEDIATE" if access == "write" else "BEGIN"
    driver: Any = connection.connection.driver_connection
    seconds = LOCK_SECONDS if has_request_context() else LONG_LOCK_SECONDS["sqlite"]
    deadline = time.monotonic() + seconds
    if access == "write" and driver.turn is None:
        driver.queue = _writers.setdefault(connection.engine.pool, WriterQueue())
        driver.turn = driver.queue.take(seconds)
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
