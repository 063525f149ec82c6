"""The options of the engine for either database, and the end of its connections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
import structlog

from app.core.db import timeouts
from app.core.db.connections import SqliteConnection
from app.core.values import json_text

log = structlog.get_logger()

POSTGRESQL_SETTINGS: Mapping[str, str] = {
    **timeouts.POSTGRESQL_SETTINGS,
    "timezone": "UTC",
    # To compile a plan takes longer than any of ours runs.
    "jit": "off",
    # Disks of today read anywhere alike: with PostgreSQL's default it would rather read a whole table.
    "random_page_cost": "1.1",
    # A bitmap of many rows that does not fit has each row of its pages looked at again.
    "work_mem": "16MB",
}

APPLICATION_NAME = "itam"
"""By this name PostgreSQL lists our connections."""

CLOSE_TIMEOUT_MS = 2_000
"""How long the end of a process waits for other users of SQLite's file before it writes what it can."""


def engine_options(url: str) -> dict[str, Any]:
    """The `SQLALCHEMY_ENGINE_OPTIONS` for a database URL."""
    # The default serializer writes "\\u4e2d" for a Chinese character, which no search would find.
    shared = {
        "json_serializer": json_text,
        "json_deserializer": orjson.loads,
        # An error with the parameters of its statement would bring hashes and encrypted mail into the log.
        "hide_parameters": True,
    }
    if url.startswith("sqlite"):
        # For the statements that prepare a connection; timeouts.py has the others.
        return {**shared, "connect_args": {"timeout": 30, "factory": SqliteConnection}}
    return {
        **shared,
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
            "options": " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SETTINGS.items()),
        },
    }


def close(engine: sa.Engine) -> None:
    """Close the connections of a process that ends, and write SQLite's write-ahead log into the database file.

    People copy the file alone. SQLite writes it only when the last connection is closed, and connections of threads or
    of killed workers are never closed.
    """
    # Connecting would create a file that does not exist.
    if engine.dialect.name == "sqlite" and Path(engine.url.database or "").is_file():
        try:
            with engine.connect().execution_options(access="read") as connection:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {CLOSE_TIMEOUT_MS}")
                # Where others read or write for longer, it writes what is committed and nobody reads an older state of.
                is_incomplete, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            if is_incomplete:
                log.warning("database_in_use", effect="copy it with its -wal file")
        except sa.exc.DBAPIError as error:
            log.warning("database_not_closed", error=repr(error.orig))
    engine.dispose()
