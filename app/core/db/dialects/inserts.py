"""Inserts of many rows by a driver whose statements take a mark for each value."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any


def insert_rows(
    cursor: Any,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    mark: str,
    rows_a_statement: int,
) -> None:
    """Insert rows. Table and columns are quoted already; `mark` stands for a value in the driver's statements."""
    rest = iter(rows)
    marks = f"({', '.join([mark] * len(columns))})"
    while part := list(islice(rest, rows_a_statement)):
        listed = ", ".join([marks] * len(part))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {listed}"  # noqa: S608 - names of ours
        cursor.execute(statement, list(chain.from_iterable(part)))
