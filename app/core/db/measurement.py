"""Measurement of statements: their number, their rows, and the slow ones."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
from flask import current_app, has_app_context
from prometheus_client import Gauge

Rows = TypeVar("Rows", bound=Sequence[Any])

log = structlog.get_logger()

FLOOR_SECONDS = 0.02
"""No statement is slow below this: the setting SLOW_STATEMENT_MS is only looked up above it."""
SHAPE_LENGTH = 2000
"""Characters of a slow statement that are logged."""

connections_in_use = Gauge(
    "itam_database_connections_in_use",
    "Connections that are taken from the pool.",
    multiprocess_mode="livesum",
)

Plan = Callable[[Any, str, Any], str | None]
"""The steps of a query's plan, given a connection of the driver, the query and its parameters; None where asking could
hurt a transaction."""


class Counts(threading.local):
    """What this thread has sent to databases since it began; a request is the difference of two readings."""

    statements = 0
    rows = 0
    """Rows that were read or changed."""
    trace: list[tuple[str, int, float]] | None = None
    """Where tracing is on: each statement with the nanosecond of its end and its seconds."""


counts = Counts()


def count_fetched(rows: Rows) -> Rows:
    """Count rows that were fetched."""
    counts.rows += len(rows)
    return rows


def count_copied(rows: int) -> None:
    """Count a COPY, which no method of a cursor sees as a whole."""
    counts.statements += 1
    counts.rows += rows


def count(cursor: Any, query: Any, parameters: Any, seconds: float, plan: Plan) -> None:
    """Count a statement that has ended, and log it if it was slow."""
    counts.statements += 1
    # SQLite knows it of changes only, and a server-side cursor of nothing.
    if cursor.rowcount > 0:
        counts.rows += cursor.rowcount
    if counts.trace is not None:
        counts.trace.append((str(query), time.time_ns(), seconds))
    if seconds > FLOOR_SECONDS:
        report_slow(cursor, query, parameters, seconds, plan)


def report_slow(cursor: Any, query: Any, parameters: Any, seconds: float, plan: Plan) -> None:
    """Log a slow statement without its values, and a query with its plan."""
    milliseconds = seconds * 1000
    if has_app_context() and milliseconds >= current_app.config["SLOW_STATEMENT_MS"]:
        text = str(query)
        shape = re.sub(r"\s+", " ", text).strip()[:SHAPE_LENGTH]
        is_query = parameters is not None and re.match(r"\s*(SELECT|WITH)\b", text, re.IGNORECASE)
        steps = plan(cursor.connection, text, parameters) if is_query else None
        log.warning("slow_statement", ms=round(milliseconds, 1), statement=shape, **({"plan": steps} if steps else {}))


def check_out(*_: Any) -> None:
    """Listener: count a connection that is taken from the pool."""
    connections_in_use.inc()


def check_in(*_: Any) -> None:
    """Listener: count a connection that goes back to the pool."""
    connections_in_use.dec()
