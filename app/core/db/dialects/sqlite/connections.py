"""Connections to SQLite: their settings, how they wait for the one writer, and the end of the last one."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
import structlog
from flask import has_request_context

from app.core.db.dialects.protocol import Access, Listener, SqlFunctions
from app.core.db.dialects.sqlite.cursors import Connection
from app.core.db.dialects.sqlite.missing_record import name_missing_record
from app.core.db.dialects.sqlite.writer_queue import WriterQueue
from app.core.db.timeouts import LOCK_SECONDS
from app.core.values import joined_search_text

log = structlog.get_logger()

_writers: WeakKeyDictionary[sa.Pool, WriterQueue] = WeakKeyDictionary()
_TURN = "turn to write"
_LARGE_CACHE = "large cache"

LONG_LOCK_SECONDS = 30.0
"""How long a job or command waits for the lock of all writers."""
POLL_SECONDS = 0.005
PRIMARY_CODE = 0xFF
"""The bits of SQLite's extended result codes that say what kind of error it is."""
CACHE_KIB, LONG_CACHE_KIB = 2_000, 64_000
"""How much of the file a connection keeps in memory: SQLite's own default; and in a transaction of a job or command.

An import of many objects writes to forty indexes. What does not fit is written to the log and read again meanwhile.
"""
CLOSE_TIMEOUT_MS = 2_000
"""How long the end of a process waits for other users of the file before it writes what it can."""


def take(_engine: sa.Engine, _access: Access) -> None:
    """The pool is asked for each connection."""


def give_back(connection: sa.Connection) -> None:
    """Return a connection to the pool."""
    connection.close()


def settings_problem(_connection: sa.Connection) -> str | None:
    """No setting of the server matters."""
    return None


def largest_file(_connection: sa.Connection) -> int | None:
    """There is no limit below that of an import."""
    return None


def engine_options() -> dict[str, Any]:
    """The engine options of this database."""
    # The timeout is for the statements that prepare a connection; timeouts.py has the others.
    return {"connect_args": {"timeout": 30, "factory": Connection}}


def listeners(functions: SqlFunctions) -> Mapping[str, Listener]:
    """What listens to the engine, by the names of SQLAlchemy's events; `functions` are created on each connection."""
    return {
        "connect": lambda connection, _record: _prepare(connection, functions),
        "begin": begin,
        "checkin": end_turn,
        "handle_error": name_missing_record,
    }


def _prepare(connection: sqlite3.Connection, functions: SqlFunctions) -> None:
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    connection.create_function("search_text", -1, joined_search_text, deterministic=True)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        f"busy_timeout={LOCK_SECONDS * 1000:.0f}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def begin(connection: sa.Connection) -> None:
    """Listener: begin a transaction, waiting for the lock of all writers if it is one: those of this process in order.

    For the lock of another process SQLite itself would ask at growing intervals of up to a tenth of a second.
    """
    access = connection.get_execution_options().get("access", "write")
    if access == "read":
        return
    # The write lock is taken at once: an upgrade from read to write fails whatever the timeout.
    statement = "BEGIN IMMEDIATE" if access == "write" else "BEGIN"
    fairy = connection.connection
    driver: Any = fairy.driver_connection
    is_long = not has_request_context()
    seconds = LONG_LOCK_SECONDS if is_long else LOCK_SECONDS
    deadline = time.monotonic() + seconds
    if access == "write" and fairy.record_info is not None and _TURN not in fairy.record_info:
        queue = _writers.setdefault(connection.engine.pool, WriterQueue())
        fairy.record_info[_TURN] = queue, queue.take(seconds)
        if is_long:
            fairy.record_info[_LARGE_CACHE] = True
            driver.execute(f"PRAGMA cache_size = -{LONG_CACHE_KIB}")
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


def end_turn(connection: Connection | None, record: sa.pool.ConnectionPoolEntry) -> None:
    """Listener: end the turn to write of what goes back to the pool, also where its connection is closed already."""
    info = record.record_info or {}
    if info.pop(_LARGE_CACHE, None) and connection is not None:
        # SQLite frees what is above the size.
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    if held := info.pop(_TURN, None):
        queue, turn = held
        queue.leave(turn)


@contextmanager
def only_migrator(_connection: sa.Connection) -> Iterator[None]:
    """Keep others from migrating: SQLite has one writer anyway."""
    yield


def close(engine: sa.Engine) -> None:
    """Write the write-ahead log into the database file, at the end of a process.

    People copy the file alone. SQLite writes it only when the last connection is closed, and connections of threads or
    of killed workers are never closed.
    """
    # Connecting would create a file that does not exist.
    if not Path(engine.url.database or "").is_file():
        return
    try:
        with engine.connect().execution_options(access="read") as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {CLOSE_TIMEOUT_MS}")
            # While others still read an older state, what was committed after that state stays in the log.
            is_incomplete, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if is_incomplete:
            log.warning("database_in_use", effect="copy it with its -wal file")
    except sa.exc.DBAPIError as error:
        # A file that is no database was refused in words already.
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
            log.warning("database_not_closed", error=repr(error.orig))


def is_in_use(engine: sa.Engine) -> bool:
    """Whether another connection is open on the file: an exclusive one needs to be the only one."""
    path = Path(engine.url.database or "")
    if not path.exists():
        return False
    connection = sqlite3.connect(path, timeout=1)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def lift_timeout(_connection: sa.Connection) -> None:
    """Let the statements of the current transaction take as long as they need: SQLite has no such timeout."""


def commit_without_disk(_connection: sa.Connection) -> None:
    """Let the current transaction be visible to others before it is on the disk: not on SQLite."""
