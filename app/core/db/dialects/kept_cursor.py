"""Statements that are given to the driver by one cursor of a connection."""

from collections.abc import Sequence
from typing import Any

from app.core.db.dialects.protocol import Query

_CURSOR = "kept_cursor"
"""Where a pooled connection keeps it."""


def fetch(pooled: Any, queries: Sequence[Query]) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
    """The rows of each query, and the cursor's description."""
    # One for all these statements of a connection: to make and to close one takes a quarter of a small one.
    cursor = pooled.info.pop(_CURSOR, None) or pooled.cursor()
    answers: list[tuple[Sequence[Any], Sequence[Any]]] = []
    try:
        for query in queries:
            cursor.execute(query.text, query.values)
            answers.append((cursor.fetchall(), cursor.description or ()))
    except BaseException:
        cursor.close()
        raise
    pooled.info[_CURSOR] = cursor
    return answers
