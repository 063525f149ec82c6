"""Values that people have set: what the cells of a column mean, and what holds for all rows."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.core.messages import tr
from app.core.values import Inexact, fold, whole
from app.imports.map.columns import ColumnMapping, ColumnUse, mapping_error
from app.imports.map.table import Table
from app.imports.parse.cells import read_attribute, reader_of
from app.imports.parse.guesses import INEXACT, InexactCell
from app.imports.parse.rows import ParsedRow
from app.imports.settings import Constant, find_field
from app.sheets.cells import CellError, Guess, Value
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX

CACHED_CELLS = 10_000
"""Different cells of a column whose values are cached: 75 instead of 119 MB for 100,000 rows, in 10 % less time."""

ReplaceCells = Callable[[Sequence[Value]], Sequence[Value]]
"""Replaces the cells of a batch by what they mean."""


def cell_replacements(table: Table) -> dict[int, ReplaceCells]:
    """The replacement of the cells of each column for which meanings have been set, by its index."""
    meanings = {_target_name(table, target): texts for target, texts in table.settings.values.items()}
    return {
        column.index: _replace_cells(meanings[column.full_target])
        for column in table.columns
        if column.full_target in meanings and column.use is not ColumnUse.CONSTANT
    }


def read_constants(table: Table) -> list[tuple[ColumnMapping, Any]]:
    """The columns of constants, each with its value; one that is no value of its field is an error of the table."""
    named = {_target_name(table, target): value for target, value in table.settings.constants.items()}
    constants = []
    for column in (column for column in table.columns if column.use is ColumnUse.CONSTANT):
        try:
            constants.append((column, read_constant(column, named[column.full_target or ""])))
        except CellError as error:
            message = tr(
                "The value of all rows for {field} is wrong: {error}", field=column.target, error=error.message
            )
            table.errors.append(mapping_error("constant", message))
    return constants


def read_constant(column: ColumnMapping, value: Constant) -> Any:
    """The value of a constant for its field or attribute; raises CellError, also where a cell would be a guess.

    Who sets an inexact word means the value that it is read as.
    """
    read = read_attribute(value) if column.field is None else reader_of(column.field)(value)
    if isinstance(read, Guess) and read.rule == INEXACT:
        return read.value
    if isinstance(read, Guess):
        raise CellError("guess", tr("{problem} Write the exact value.", problem=read.message))
    return read


def _replace_cells(meanings: Mapping[str, str]) -> ReplaceCells:
    folded = {fold(text): meaning for text, meaning in meanings.items()}

    def meant(key: str, cell: Value) -> Value:
        meaning = folded.get(key, cell)
        return InexactCell(meaning, cell) if isinstance(meaning, Inexact) else meaning

    # The longest one first: it says most.
    patterns = [text.split("*") for text in sorted(folded, key=len, reverse=True) if text.count("*") == 1 < len(text)]

    # Typed, because True equals 1.
    @functools.lru_cache(maxsize=CACHED_CELLS, typed=True)
    def replaced(cell: Value) -> Value:
        text = str(whole(cell)) if isinstance(cell, float) else str(cell)
        key = fold(text.strip())
        if key in folded or not patterns:
            return meant(key, cell)
        matching = (f"{begin}*{end}" for begin, end in patterns if _has_ends(key, begin, end))
        return meant(next(matching, key), cell)

    return lambda cells: [cell if cell is None else replaced(cell) for cell in cells]


def _has_ends(text: str, begin: str, end: str) -> bool:
    return len(text) >= len(begin) + len(end) and text.startswith(begin) and text.endswith(end)


def fill_fallbacks(row: ParsedRow) -> None:
    """Fill the fields of a new object that its row leaves empty from the fields that are set as their fallbacks."""
    for target, source in row.table.settings.fallbacks.items():
        filled, other = (_target_name(row.table, name) for name in (target, source))
        values, key = _place(row, filled)
        text = _place(row, other)[0].get(_place(row, other)[1])
        if values.get(key) is None and text is not None:
            values[key] = text if isinstance(text, str) else str(text)


def _place(row: ParsedRow, target: str) -> tuple[dict[str, Any], str]:
    """Where a row holds the value of a target."""
    if target.startswith(ATTRIBUTE_PREFIX):
        return row.attributes, target.removeprefix(ATTRIBUTE_PREFIX)
    return row.values, target


def _target_name(table: Table, target: str) -> str:
    item = find_field(table.resource, target)
    return target if item is None else item.name
