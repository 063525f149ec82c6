"""Connections to MariaDB: their options, and how they begin a transaction and wait."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import has_request_context
from pymysql.converters import conversions, escape_datetime
from sqlalchemy.exc import InvalidatePoolError

from app.core.db.dialects.mariadb import compilers
from app.core.db.dialects.mariadb.cursors import Cursor
from app.core.db.dialects.mariadb.driver import Connection
from app.core.db.dialects.mariadb.servers import BEGIN, STATEMENT_SECONDS
from app.core.db.dialects.protocol import Access, Listener, SqlFunctions
from app.core.db.timeouts import LOCK_SECONDS, MIGRATION_LOCK_SECONDS

LONG_LOCK_SECONDS = 10
"""How long a job or command waits for a lock."""
STATEMENT_BYTES = 65_536
"""What a statement has beside the file that it stores."""
MIGRATION_LOCK = "itam migrations"


def take(_engine: sa.Engine, _access: Access) -> None:
    """The pool is asked for each connection."""


def give_back(connection: sa.Connection) -> None:
    """Return a connection to the pool."""
    connection.close()


def settings_problem(connection: sa.Connection) -> str | None:
    """Why the settings of the server, where no connection can change them, cannot hold our promises."""
    has_statements = sa.text("SELECT @@log_bin AND @@binlog_format = 'STATEMENT'")
    if connection.scalar(has_statements):
        return "The server's binary log cannot repeat our changes: set binlog_format = ROW or MIXED there."
    return None


def largest_file(connection: sa.Connection) -> int | None:
    """How many bytes a value may have: a statement is one packet, in which the driver writes two digits for a byte."""
    packet: int = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
    return (packet - STATEMENT_BYTES) // 2


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
    """Listener: begin a transaction; one of a job or command waits longer for locks than that of a request."""
    options = connection.get_execution_options()
    access = options.get("access", "write")
    driver = _driver(connection)
    driver.is_long = access == "snapshot"
    if access == "read":
        return
    statements = [BEGIN]
    if access == "snapshot":
        statements = [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ]
    migration_seconds = options.get(MIGRATION_LOCK_SECONDS)
    seconds = migration_seconds or (LOCK_SECONDS if has_request_context() else LONG_LOCK_SECONDS)
    if driver.lock_seconds != seconds:
        limit = driver.server.limited(0 if migration_seconds else STATEMENT_SECONDS)
        waits = f"innodb_lock_wait_timeout = {seconds:.0f}, lock_wait_timeout = {seconds:.0f}"
        statements.insert(0, f"SET {waits}, {limit}")
    for statement in driver.server.sent_together(statements):
        connection.exec_driver_sql(statement)
    driver.lock_seconds = seconds


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


@contextmanager
def only_migrator(connection: sa.Connection) -> Iterator[None]:
    """Wait until no other process migrates the database, and keep others from it; the connection holds the lock."""
    server = _driver(connection).server
    connection.exec_driver_sql(f"SET {server.limited(0)}")
    # A lock has a name for the whole server.
    name = f"{MIGRATION_LOCK} {connection.engine.url.database}"[:64]
    connection.execute(sa.select(sa.func.get_lock(name, 1_000_000)))
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(name)))
        connection.exec_driver_sql(f"SET {server.limited(STATEMENT_SECONDS)}")
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
    driver = _driver(connection)
    connection.exec_driver_sql(f"SET {driver.server.limited(0)}")
    # The next transaction sets it again.
    driver.lock_seconds = None


def commit_without_disk(_connection: sa.Connection) -> None:
    """Let the current transaction be visible to others before it is on the disk: a setting of the whole server."""
