"""Cursors of both drivers that count the statements and rows of their thread, and log the statements that are slow."""

import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from flask import current_app, has_app_context
from psycopg.pq import TransactionStatus

log = structlog.get_logger()

FLOOR_SECONDS = 0.02
"""No statement is slow below this: the setting SLOW_STATEMENT_MS is only looked up above it."""
SHAPE_LENGTH = 2000
"""Characters of a slow statement that are logged."""


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
            _report_slow(self, *self._sent, self._seconds + seconds)
        return _counted(rows)


class SqliteConnection(sqlite3.Connection):
    """A connection with counting cursors; `execute`, which prepares connections, does not count."""

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
        _report_slow(cursor, query, parameters, seconds)


def _report_slow(cursor: Any, query: Any, parameters: Any, seconds: float) -> None:
    """Log a slow statement without its values."""
    milliseconds = seconds * 1000
    if has_app_context() and milliseconds >= current_app.config["SLOW_STATEMENT_MS"]:
        text = str(query)
        shape = re.sub(r"\s+", " ", text).strip()[:SHAPE_LENGTH]
        plan = _plan(cursor.connection, text, parameters)
        log.warning("slow_statement", ms=round(milliseconds, 1), statement=shape, **({"plan": plan} if plan else {}))


def _plan(connection: Any, query: str, parameters: Any) -> str | None:
    """The steps of a query's plan with their tables and indexes; None where asking could hurt a transaction."""
    if parameters is None or not re.match(r"\s*(SELECT|WITH)\b", query, re.IGNORECASE):
        return None
    with suppress(psycopg.Error, sqlite3.Error):
        if isinstance(connection, sqlite3.Connection):
            steps = sqlite3.Cursor(connection).execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
            return "; ".join(step[3] for step in steps)
        # In a transaction, an error of EXPLAIN would undo the work.
        if connection.info.transaction_status is TransactionStatus.IDLE:
            with psycopg.Cursor(connection) as cursor:
                cursor.execute(f"EXPLAIN (FORMAT JSON, COSTS OFF) {query}", parameters)
                ((document,),) = cursor.fetchall()
                return _steps(document[0]["Plan"])
    return None


def _steps(node: Mapping[str, Any]) -> str:
    """A step of PostgreSQL's plan and, in brackets, those that it reads from."""
    names: Sequence[str] = ("Node Type", "Relation Name", "Index Name")
    text = " ".join(node[name] for name in names if name in node)
    below = ", ".join(_steps(child) for child in node.get("Plans", ()))
    return f"{text} ({below})" if below else text
