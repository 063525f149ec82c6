"""How a connection to either database is made, begins its transactions, and is known to be alive."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Literal

import orjson
import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import Pool

from app.core.values import fold_value

Access = Literal["write", "read", "snapshot"]
"""What a connection is for, its execution option `access`: "read" sees each statement's own moment and holds nothing
between them, "snapshot" sees one moment throughout."""

_BEGIN: Mapping[str, Mapping[Access, str]] = {
    # The write lock is taken at once: an upgrade from read to write fails whatever the timeout.
    "sqlite": {"write": "BEGIN IMMEDIATE", "snapshot": "BEGIN"},
    "postgresql": {"write": "BEGIN", "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
}


def engine_options(url: str) -> dict[str, Any]:
    """The `SQLALCHEMY_ENGINE_OPTIONS` for a database URL."""
    # The default serializer writes "\\u4e2d" for a Chinese character, which no search would find.
    json = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
    }
    if url.startswith("sqlite"):
        return {**json, "connect_args": {"timeout": 30}}
    return {
        **json,
        # The driver begins nothing by itself: `_begin` does, where there is something to write.
        "isolation_level": "AUTOCOMMIT",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 3,
            # To compile a plan takes longer than any of ours runs.
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC -c jit=off",
        },
    }


@event.listens_for(sa.Engine, "connect")
def _prepare_sqlite(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    connection.create_function("fold", 1, fold_value, deterministic=True)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


@event.listens_for(sa.Engine, "begin")
def _begin(connection: sa.Connection) -> None:
    access = connection.get_execution_options().get("access", "write")
    if access != "read":
        connection.exec_driver_sql(_BEGIN[connection.dialect.name][access])


@event.listens_for(Pool, "checkout")
def _check_liveness(connection: Any, _record: Any, _fairy: Any) -> None:
    """Replace a connection that the server has closed meanwhile, without asking the server each time.

    libpq reads what there is: first a farewell perhaps, or a notice, and then that nobody is there.
    """
    if isinstance(connection, psycopg.Connection):
        try:
            connection.pgconn.consume_input()
            connection.pgconn.consume_input()
        except psycopg.Error as error:
            raise InvalidatePoolError from error
