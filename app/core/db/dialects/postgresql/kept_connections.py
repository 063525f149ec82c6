"""Connections that blocks use again without SQLAlchemy's pool; see docs/decisions/0155.

The pool makes two objects for each, and calls what listens to it: 120 of the 800 function calls of a single object.
"""

from contextlib import suppress
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.db import measurement
from app.core.db.dialects.postgresql.driver import Connection
from app.core.db.dialects.protocol import Access

MAX_KEPT = 8
"""How many are kept, of those that the pool may open."""


class Pool(sa.QueuePool):
    """SQLAlchemy's pool with the connections that it has given out and nothing uses at the moment."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # To take one from the list, or to put one there, is one step. The latest is taken first: what it needs is still
        # in the processor's cache.
        self.kept: list[sa.Connection] = []

    def _do_get(self) -> ConnectionPoolEntry:
        if self.kept and self.checkedout() >= self.size() + self._max_overflow:
            # What is kept must not keep anybody waiting.
            with suppress(IndexError):
                connection = self.kept.pop()
                measurement.check_out()
                connection.close()
        return super()._do_get()

    def dispose(self) -> None:
        while self.kept:
            connection = self.kept.pop()
            measurement.check_out()
            connection.detach()
            connection.close()
        super().dispose()


def take(engine: sa.Engine, access: Access) -> sa.Connection:
    """A connection of an engine. Raises DBAPIError, and SQLAlchemy's TimeoutError where the pool has none left."""
    kept = _pool(engine).kept
    while kept:
        try:
            connection = kept.pop()
        except IndexError:
            break  # Another thread was faster.
        measurement.check_out()
        if _driver(connection).is_open():
            if connection.get_execution_options()["access"] != access:
                connection.execution_options(access=access)
            return connection
        connection.invalidate()
        connection.close()
    return engine.connect().execution_options(access=access)


def give_back(connection: sa.Connection) -> None:
    """Keep a connection, or return it to its pool: one that is lost, and one too many."""
    if connection.in_transaction():
        # SQLAlchemy's, which begins with any statement. One that only reads has none in the database.
        connection.rollback()
    kept = _pool(connection.engine).kept
    if connection.closed or connection.invalidated or len(kept) >= MAX_KEPT or not _driver(connection).is_idle():
        connection.close()
    else:
        measurement.check_in()
        kept.append(connection)


def _pool(engine: sa.Engine) -> Pool:
    return cast(Pool, engine.pool)


def _driver(connection: sa.Connection) -> Connection:
    return cast(Connection, connection.connection.dbapi_connection)
