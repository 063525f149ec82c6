"""Cursors of psycopg that count their statements."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from app.core.db.measurement import count, count_fetched

_FORGETTING = ("ROLLBACK", "DROP", "ALTER", "DISCARD", "DEALLOCATE")
"""Statements after which psycopg lets PostgreSQL forget all that is prepared on the connection."""


class Cursor(psycopg.Cursor[Any]):
    """psycopg's cursor; all rows have arrived when `execute` returns."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":
        began = time.perf_counter()
        try:
            super().execute(query, params, **options)
        finally:
            count(self, query, params, time.perf_counter() - began, plan)
        if (self.statusmessage or "").startswith(_FORGETTING):
            self.connection.direct.forget()  # type: ignore[attr-defined]
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        began = time.perf_counter()
        try:
            super().executemany(query, params_seq, **options)
        finally:
            count(self, query, None, time.perf_counter() - began, plan)


class ServerCursor(psycopg.ServerCursor[Any]):
    """psycopg's cursor of a query whose rows are fetched in parts."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> "ServerCursor":
        began = time.perf_counter()
        super().execute(query, params, **options)
        count(self, query, None, time.perf_counter() - began, plan)
        return self

    def fetchmany(self, size: int = 0) -> list[Any]:
        return count_fetched(super().fetchmany(size))

    def fetchall(self) -> list[Any]:
        return count_fetched(super().fetchall())


def plan(connection: Any, query: str, parameters: Any, kind: type[psycopg.Cursor[Any]] = psycopg.Cursor) -> str | None:
    """The steps of a query's plan with their tables and indexes; `kind` is the cursor that reads its parameters."""
    # In a transaction, an error of EXPLAIN would undo the work.
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        return None
    with suppress(psycopg.Error), kind(connection) as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON, COSTS OFF) {query}", parameters)
        ((document,),) = cursor.fetchall()
        return _steps(document[0]["Plan"])
    return None


def _steps(node: Mapping[str, Any]) -> str:
    """A step of a plan and, in brackets, those that it reads from."""
    names: Sequence[str] = ("Node Type", "Relation Name", "Index Name")
    text = " ".join(node[name] for name in names if name in node)
    below = ", ".join(_steps(child) for child in node.get("Plans", ()))
    return f"{text} ({below})" if below else text
