"""Statements that are given to the driver by one cursor of a connection."""

from collections.abc import Sequence
from typing import Any

_CURSOR = "kept_cursor"
"""Where a pooled connection keeps it."""


def fetch(pooled: Any, text: str, values: Any, *, by_value: bool) -> tuple[Sequence[Any], Sequence[Any]]:
    """The rows of a statement, and the cursor's description."""
    # One for all these statements of a connection: to make and to close one takes a quarter of a small one.
    cursor = pooled.info.pop(_CURSOR, None) or pooled.cursor()
    try:
        cursor.execute(text, values)
        rows: Sequence[Any] = cursor.fetchall()
    except BaseException:
        cursor.close()
        raise
    pooled.info[_CURSOR] = cursor
    return rows, cursor.description or ()
