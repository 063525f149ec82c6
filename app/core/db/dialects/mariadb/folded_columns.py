"""Columns in place of the indexes of expressions that MariaDB lacks.

An index of `fold(name)` is one of the invisible column `name__fold`. A query that asks for `fold(name)` reads that
column. Triggers fill it (see migrations/dialects) where the writer has not done so: a bulk write folds the values
itself, because a trigger takes ten times as long.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from app.core.addresses import address_key
from app.core.db.unit_of_work import db
from app.core.values import MAX_SORT_KEY, fold, natural_key

COMPARED_LENGTH = 512
"""Characters of a folded text that are compared and indexed: an index of InnoDB has 3,072 bytes."""
SUFFIXES = {"fold": "__fold", "natural_key": "__natural", "address_key": "__address"}
"""What follows the name of a column in that of the column with its folded text, for each function."""
LENGTHS = {"fold": COMPARED_LENGTH, "natural_key": MAX_SORT_KEY, "address_key": 64}
"""The characters of a column with a folded text."""
_FUNCTIONS: dict[str, Callable[[str], str | None]] = {
    "fold": fold,
    "natural_key": natural_key,
    "address_key": address_key,
}
_BATCH_ROWS = 1000


def hidden_column(function: str, clause: sa.ColumnElement[object], text: str) -> str | None:
    """The column that has what this function gives for a column, written like that one; None if there is none."""
    table = getattr(clause, "table", None)
    # An alias is a name for a table, and has its columns.
    while isinstance(table, sa.Alias):
        table = table.element
    if not isinstance(table, sa.Table) or f"{function}({getattr(clause, 'name', '')})" not in _indexed(table):
        return None
    quote = '"' if text.endswith('"') else ""
    return f"{text.removesuffix(quote)}{SUFFIXES[function]}{quote}"


def with_folded(
    table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    """Columns and rows for an INSERT, with the folded texts of these columns. The names of columns are quoted."""
    plain = [column.strip('"') for column in columns]
    sources = [(plain.index(column), function) for column, function in _folded(table) if column in plain]
    if not sources:
        return columns, rows
    names = [f"{plain[place]}{SUFFIXES[function]}" for place, function in sources]
    return [*columns, *names], _rows_with_folded(sources, rows)


def _rows_with_folded(sources: Sequence[tuple[int, str]], rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows in batches, so that repeated values of a column are folded once."""
    rest = iter(rows)
    while batch := list(islice(rest, _BATCH_ROWS)):
        columns: list[Sequence[Any]] = list(zip(*batch, strict=True))
        columns += [_folded_values(function, columns[place]) for place, function in sources]
        yield from zip(*columns, strict=True)


def _folded_values(function: str, values: Sequence[str | None]) -> list[str | None]:
    call, length = _FUNCTIONS[function], LENGTHS[function]
    folded = {value: None if value is None else call(value) for value in set(values)}
    return [key and key[:length] for key in map(folded.__getitem__, values)]


@functools.cache
def _folded(table: str) -> Sequence[tuple[str, str]]:
    """The columns of a model's table with folded texts, and the function that makes each."""
    # The models' own table: one that is made to write JSON as text has no indexes.
    model = db.metadata.tables.get(table)
    if model is None:
        return []
    matches = (re.fullmatch(r"(\w+)\((\w+)\)", text) for text in sorted(_indexed(model)))
    return [(match[2], match[1]) for match in matches if match is not None and match[1] in _FUNCTIONS]


@functools.cache
def _indexed(table: sa.Table) -> frozenset[str]:
    """The expressions that a table has indexes of; GIN indexes are PostgreSQL's."""
    ordinary = (index for index in table.indexes if not index.dialect_options["postgresql"]["using"])
    return frozenset(
        expression.text
        for index in ordinary
        for expression in index.expressions
        if isinstance(expression, sa.TextClause)
    )
