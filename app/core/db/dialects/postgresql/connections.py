"""Connections to PostgreSQL: their settings, how they begin a transaction, and that a request leaves a silent one."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

import psycopg
import sqlalchemy as sa
from flask import has_request_context
from psycopg import errors as postgres
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import InvalidatePoolError

from app.core.db.dialects.postgresql.cursors import Cursor, ServerCursor
from app.core.db.dialects.postgresql.direct import DirectCursor
from app.core.db.dialects.protocol import Listener, SqlFunctions
from app.core.db.dialects.silence import Silence
from app.core.db.timeouts import (
    ANSWER_SECONDS,
    LOCK_SECONDS,
    LONG_ANSWER_SECONDS,
    MIGRATION_LOCK_SECONDS,
    REPLICA_ANSWER_SECONDS,
    SILENT_ANSWER_SECONDS,
)

V = TypeVar("V")

LONG_LOCK_SECONDS = 10
"""How long a job or command waits for a lock."""
SETTINGS: Mapping[str, str] = {
    "statement_timeout": "30s",
    # Of a request; jobs and commands wait longer, see LONG_LOCK_SECONDS.
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    # A statement that its request has given up on ends, instead of running into its timeout.
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    # To compile a plan takes longer than any of ours runs.
    "jit": "off",
    # Disks of today read anywhere alike: with PostgreSQL's default it would rather read a whole table.
    "random_page_cost": "1.1",
    # A bitmap of many rows that does not fit has each row of its pages looked at again.
    "work_mem": "16MB",
}
"""What the server applies to a connection."""
APPLICATION_NAME = "itam"
"""By this name PostgreSQL lists our connections."""


class NoAnswer(postgres.OperationalError):
    """PostgreSQL has not answered in time, such as when its processes are stopped; the connection is closed."""


class Connection(psycopg.Connection[Any]):
    """A connection that a request leaves and closes when PostgreSQL does not answer in time.

    Timeouts of the server do not apply while the server is stopped, and those of TCP not while its kernel runs.
    """

    silence: ClassVar = Silence()
    is_long = False
    """Whether statements may take LONG_ANSWER_SECONDS."""

    @cached_property
    def direct(self) -> DirectCursor:
        """Runs the statements that every request runs."""
        return DirectCursor(self)

    def wait(self, gen: PQGen[V], interval: float = 0.1, timeout: float | None = None) -> V:
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
            self.silence.begin()
            raise NoAnswer(f"PostgreSQL has not answered within {seconds} seconds.") from None
        self.silence.end()
        return answer

    def rollback(self) -> None:
        """Roll back; SQLAlchemy's pool does so for each connection that comes back, mostly where nothing has begun."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()
            self.direct.forget()

    def _answer_seconds(self) -> float:
        return LONG_ANSWER_SECONDS if self.is_long else SILENT_ANSWER_SECONDS if self.silence else ANSWER_SECONDS


class ReplicaConnection(Connection):
    """A connection to a standby: a request leaves it early, because the primary can answer instead."""

    silence: ClassVar = Silence()
    replayed = -1
    """How far in the log of writes the standby was when it was last asked."""

    def _answer_seconds(self) -> float:
        return REPLICA_ANSWER_SECONDS


def settings_problem(_connection: sa.Connection) -> str | None:
    """No setting of the server matters."""
    return None


def largest_file(_connection: sa.Connection) -> int | None:
    """There is no limit below that of an import."""
    return None


def engine_options() -> dict[str, Any]:
    """The engine options of this database."""
    return {
        # The driver begins no transactions: the listener does, by BEGIN, where something may be written.
        "isolation_level": "AUTOCOMMIT",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 3,
            "application_name": APPLICATION_NAME,
            # A job waits for a network that loses everything; a request does not wait so long (timeouts.py).
            "tcp_user_timeout": 30_000,
            "options": " ".join(f"-c {name}={value}" for name, value in SETTINGS.items()),
        },
    }


def listeners(_functions: SqlFunctions) -> Mapping[str, Listener]:
    """What listens to the engine, by the names of SQLAlchemy's events."""
    return {"do_connect": connect, "checkout": check_out, "begin": begin, "handle_error": keep_pool}


def replica_listeners(handle_error: Listener) -> Mapping[str, Listener]:
    """What listens to the engine of a standby, on which no transaction begins."""
    return {"do_connect": partial(connect, kind=ReplicaConnection), "checkout": check_out, "handle_error": handle_error}


def connect(
    _dialect: Any,
    _record: Any,
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    kind: type[Connection] = Connection,
) -> Connection:
    """Listener: connect to PostgreSQL; at once raises NoAnswer for a request while it is silent."""
    if kind.silence and has_request_context():
        raise NoAnswer("PostgreSQL has not answered a moment ago.")
    try:
        connection = kind.connect(*arguments, **options)
    except postgres.ConnectionTimeout:
        kind.silence.begin()
        raise
    connection.cursor_factory, connection.server_cursor_factory = Cursor, ServerCursor
    return connection


def check_out(connection: Connection, _record: Any, _fairy: Any) -> None:
    """Listener: replace a connection that the server has closed, without a round trip.

    libpq reads what has arrived: first a notice perhaps, and then the end of the stream.
    """
    try:
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def begin(connection: sa.Connection) -> None:
    """Listener: begin a transaction; one of a job or command waits longer for locks than its connection.

    Both statements are sent together, which costs no further round trip.
    """
    options = connection.get_execution_options()
    access = options.get("access", "write")
    driver: Any = connection.connection.driver_connection
    driver.is_long = access == "snapshot"
    if access == "read":
        return
    statement = "BEGIN" if access == "write" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    lock_seconds = options.get(MIGRATION_LOCK_SECONDS)
    if lock_seconds is not None:
        # An index of a large table takes longer than any other statement may.
        statement += f"; SET LOCAL lock_timeout = '{lock_seconds}s'; SET LOCAL statement_timeout = 0"
    elif not has_request_context():
        statement += f"; SET LOCAL lock_timeout = '{LONG_LOCK_SECONDS}s'"
    try:
        driver.direct.run(statement)
    except psycopg.Error:
        # SQLAlchemy runs it again, and tells a lost connection from other errors.
        connection.exec_driver_sql(statement)


def keep_pool(context: sa.engine.ExceptionContext) -> None:
    """Listener: keep the other connections of the pool where one has not answered.

    The server may be well and the statement slow: then the next statement on another connection ends the silence.
    """
    if Connection.silence and context.is_disconnect:
        context.invalidate_pool_on_disconnect = False


@contextmanager
def only_migrator(connection: sa.Connection) -> Iterator[None]:
    """Wait until no other process migrates the database, and keep others from it; the connection holds the lock."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('itam migrations'))")
    yield
    connection.rollback()


def close(_engine: sa.Engine) -> None:
    """Do what the end of a process needs before its connections are closed: nothing."""


def is_in_use(engine: sa.Engine) -> bool:
    """Whether other connections of the platform are open on the database."""
    others = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND application_name = :name"
    )
    with engine.connect().execution_options(access="read") as connection:
        return bool(connection.scalar(others, {"name": APPLICATION_NAME}))


def lift_timeout(connection: sa.Connection) -> None:
    """Let the statements of the current transaction take as long as they need."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def commit_without_disk(connection: sa.Connection) -> None:
    """Let the current transaction be visible to others before it is on the disk: a crash may lose it."""
    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
