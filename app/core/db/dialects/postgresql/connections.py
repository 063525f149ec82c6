"""Connections to PostgreSQL: their settings, and how they begin a transaction."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from flask import has_request_context
from psycopg import errors as postgres
from sqlalchemy.exc import InvalidatePoolError

from app.core.db.dialects.postgresql.cursors import Cursor, ServerCursor
from app.core.db.dialects.postgresql.driver import Connection, NoAnswer, ReplicaConnection
from app.core.db.dialects.postgresql.kept_connections import Pool, give_back, take
from app.core.db.dialects.protocol import Listener, SqlFunctions
from app.core.db.timeouts import LOCK_SECONDS, MIGRATION_LOCK_SECONDS

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
        "poolclass": Pool,
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
    connection.ask = lambda: kind.connect(*arguments, **options).close()
    return connection


def check_out(connection: Connection, _record: Any, _fairy: Any) -> None:
    """Listener: replace a connection that the server has closed, without a round trip."""
    if not connection.is_open():
        raise InvalidatePoolError


def begin(connection: sa.Connection) -> None:
    """Listener: begin a transaction; one of a job or command waits longer for locks than its connection.

    A request sends BEGIN with its first statement, a job both statements at once, so neither costs a round trip.
    """
    options = connection.get_execution_options()
    access = options.get("access", "write")
    driver: Any = connection.connection.driver_connection
    driver.is_long = access == "snapshot"
    if access == "read":
        return
    if access == "write" and has_request_context():
        driver.direct.postponed = "BEGIN"
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


__all__ = [
    "close",
    "commit_without_disk",
    "engine_options",
    "give_back",
    "is_in_use",
    "largest_file",
    "lift_timeout",
    "listeners",
    "only_migrator",
    "replica_listeners",
    "settings_problem",
    "take",
]
