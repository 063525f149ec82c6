"""Connections and cursors of SQLite that count their statements."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from app.core.db.measurement import FLOOR_SECONDS, count, count_fetched, counts, report_slow


class Cursor(sqlite3.Cursor):
    """SQLite's cursor. It computes rows while they are fetched, so a slow query may be slow there."""

    _sent: tuple[str, Any] = ("", None)
    _seconds = 0.0

    def execute(self, sql: str, parameters: Any = ()) -> "Cursor":
        began = time.perf_counter()
        self._sent = sql, parameters
        try:
            return super().execute(sql, parameters)
        finally:
            self._seconds = time.perf_counter() - began
            count(self, sql, parameters, self._seconds, plan)

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any]) -> "Cursor":
        began = time.perf_counter()
        try:
            return super().executemany(sql, seq_of_parameters)
        finally:
            count(self, sql, None, time.perf_counter() - began, plan)

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
            report_slow(self, *self._sent, self._seconds + seconds, plan)
        return count_fetched(rows)


class Connection(sqlite3.Connection):
    """A connection with counting cursors; `execute`, which prepares connections, does not count."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        return sqlite3.Cursor(self).execute(sql, parameters)


def plan(connection: Any, query: str, parameters: Any) -> str | None:
    """The steps of a query's plan with their tables and indexes."""
    with suppress(sqlite3.Error):
        steps = sqlite3.Cursor(connection).execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
        return "; ".join(step[3] for step in steps)
    return None
