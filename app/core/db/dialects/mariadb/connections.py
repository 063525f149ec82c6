"""Connections to MariaDB: their settings, how they begin a transaction, and that a request leaves a silent one."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pymysql
import pymysql.connections
import sqlalchemy as sa
from flask import has_request_context
from pymysql.converters import conversions, escape_datetime
from sqlalchemy.exc import InvalidatePoolError

from app.core.db.dialects.mariadb import compilers
from app.core.db.dialects.mariadb.cursors import Cursor
from app.core.db.dialects.mariadb.errors import DOES_NOT_EXIST, drop_value
from app.core.db.dialects.protocol import Listener, SqlFunctions
from app.core.db.timeouts import (
    ANSWER_SECONDS,
    LOCK_SECONDS,
    LONG_ANSWER_SECONDS,
    MIGRATION_LOCK_SECONDS,
)

LONG_LOCK_SECONDS = 10
"""How long a job or command waits for a lock."""
STATEMENT_SECONDS = 30
SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,"
    # SQL as the other databases read it: || joins texts, "name" is a name, \ is a character, and an UPDATE computes
    # all its values from the row as it was.
    "PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,SIMULTANEOUS_ASSIGNMENT"
)
SETTINGS = (
    "SET tx_isolation = 'READ-COMMITTED', "
    f"time_zone = '+00:00', max_statement_time = {STATEMENT_SECONDS}, "
    f"innodb_lock_wait_timeout = {LOCK_SECONDS:.0f}, lock_wait_timeout = {LOCK_SECONDS:.0f}, "
    "group_concat_max_len = 1073741824, @audit_session = UUID_SHORT()"
)
"""What the server applies to a connection. Our triggers note changes under the number `@audit_session`."""
MIGRATION_LOCK = "itam migrations"
IN_TRANSACTION = 1
"""The bit of the server's status that says that a transaction is open."""


class Connection(pymysql.connections.Connection):
    """A connection that a request leaves when MariaDB does not answer in time, and that ends its own transactions.

    Timeouts of the server do not apply while the server is stopped.
    """

    is_long = False
    """Whether statements may take LONG_ANSWER_SECONDS."""
    lock_seconds: float | None = LOCK_SECONDS
    """How long the server waits for a lock, as it was last told."""
    at_end: str | None = None
    """A statement that commits by itself, to be sent after the end of the current transaction."""

    def _read_bytes(self, num_bytes: int) -> Any:
        limit = LONG_ANSWER_SECONDS if self.is_long else ANSWER_SECONDS
        self._read_timeout: float | None = limit if has_request_context() else None
        return super()._read_bytes(num_bytes)

    def _read_query_result(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._read_query_result(*arguments, **options)
        except pymysql.MySQLError as error:
            drop_value(error)
            raise

    @property
    def is_in_transaction(self) -> bool:
        return bool((self.server_status or 0) & IN_TRANSACTION)

    def commit(self) -> None:
        """Commit, unless a change of this transaction has no audit record; nothing is sent outside of a transaction."""
        if not self.is_in_transaction:
            return
        try:
            self.query("CALL commit_recorded()")
        except pymysql.err.OperationalError as error:
            # Before the first migration.
            if error.args[0] != DOES_NOT_EXIST:
                raise
            self.query("COMMIT")
        self._end()

    def rollback(self) -> None:
        if self.is_in_transaction:
            self.query("ROLLBACK")
        self._end()

    def _end(self) -> None:
        if self.at_end is not None:
            statement, self.at_end = self.at_end, None
            self.query(statement)


def engine_options() -> dict[str, Any]:
    """The engine options of this database."""
    compilers.register()
    return {
        # The driver begins no transactions: the listener does, where something may be written.
        "isolation_level": "AUTOCOMMIT",
        # Parameters by their places: PyMySQL would write out named ones that a statement does not use.
        "paramstyle": "format",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 3,
            "charset": "utf8mb4",
            "collation": "utf8mb4_nopad_bin",
            "sql_mode": SQL_MODE,
            "init_command": SETTINGS,
            "autocommit": True,
            "cursorclass": Cursor,
            "conv": {**conversions, datetime: _written},
        },
    }


def _written(moment: datetime, _conversions: Any) -> str:
    """A time as a literal of its type: computed with, the driver's texts would give texts."""
    return f"TIMESTAMP{escape_datetime(moment)}"


def listeners(_functions: SqlFunctions) -> Mapping[str, Listener]:
    """What listens to the engine, by the names of SQLAlchemy's events."""
    return {"do_connect": connect, "checkout": check_out, "begin": begin}


def connect(_dialect: Any, _record: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Connection:
    """Listener: connect to MariaDB."""
    return Connection(*arguments, **options)


def check_out(connection: Connection, _record: Any, _fairy: Any) -> None:
    """Listener: replace a connection that the server has closed, without a round trip."""
    sock = connection._sock
    if sock is None:
        raise InvalidatePoolError
    sock.setblocking(False)
    try:
        # Between statements the server sends nothing but the end of the connection.
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    except OSError as error:
        raise InvalidatePoolError from error
    finally:
        sock.setblocking(True)
    raise InvalidatePoolError


def begin(connection: sa.Connection) -> None:
    """Listener: begin a transaction; one of a job or command waits longer for locks than that of a request.

    All statements are sent as one, which costs a single round trip.
    """
    options = connection.get_execution_options()
    access = options.get("access", "write")
    driver: Any = connection.connection.driver_connection
    driver.is_long = access == "snapshot"
    if access == "read":
        return
    statements = ["START TRANSACTION"]
    if access == "snapshot":
        statements = [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ]
    migration_seconds = options.get(MIGRATION_LOCK_SECONDS)
    seconds = migration_seconds or (LOCK_SECONDS if has_request_context() else LONG_LOCK_SECONDS)
    if driver.lock_seconds != seconds:
        limit = 0 if migration_seconds else STATEMENT_SECONDS
        statements.insert(
            0,
            f"SET innodb_lock_wait_timeout = {seconds:.0f}, lock_wait_timeout = {seconds:.0f}, "
            f"max_statement_time = {limit}",
        )
    together = f"BEGIN NOT ATOMIC {'; '.join(statements)}; END"
    connection.exec_driver_sql("BEGIN" if len(statements) == 1 else together)
    driver.lock_seconds = seconds


@contextmanager
def only_migrator(connection: sa.Connection) -> Iterator[None]:
    """Wait until no other process migrates the database, and keep others from it; the connection holds the lock."""
    connection.exec_driver_sql("SET max_statement_time = 0")
    # A lock has a name for the whole server.
    name = f"{MIGRATION_LOCK} {connection.engine.url.database}"[:64]
    connection.execute(sa.select(sa.func.get_lock(name, 1_000_000)))
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(name)))
        connection.exec_driver_sql(f"SET max_statement_time = {STATEMENT_SECONDS}")
        connection.rollback()


def close(_engine: sa.Engine) -> None:
    """Do what the end of a process needs before its connections are closed: nothing."""


def is_in_use(engine: sa.Engine) -> bool:
    """Whether other connections of this user are open on the database: all that the server tells everybody."""
    others = sa.text(
        "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    )
    with engine.connect().execution_options(access="read") as connection:
        return bool(connection.scalar(others))


def lift_timeout(connection: sa.Connection) -> None:
    """Let the statements of the current transaction take as long as they need."""
    connection.exec_driver_sql("SET max_statement_time = 0")
    driver: Any = connection.connection.driver_connection
    # The next transaction sets it again.
    driver.lock_seconds = None


def commit_without_disk(_connection: sa.Connection) -> None:
    """Let the current transaction be visible to others before it is on the disk: a setting of the whole server."""
