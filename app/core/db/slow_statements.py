"""The log of slow statements, without their values and with the plans of queries."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
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


def report_slow(cursor: Any, query: Any, parameters: Any, seconds: float) -> None:
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
