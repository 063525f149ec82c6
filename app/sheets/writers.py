"""Write objects as tables, row by row: .xlsx and CSV."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rustpy_xlsxwriter import FastExcel

from app.core.errors import BadRequest
from app.core.messages import tr
from app.core.values import as_json
from app.sheets.cells import escape

Item = Mapping[str, Any]

# Limits of Excel: rows below the titles, and characters of a cell.
MAX_SHEET_ROWS = 1_048_575
MAX_CELL = 32_767

# Formula injection (OWASP): spreadsheets evaluate a text in a CSV file that starts with one of these signs. An
# apostrophe in front prevents it; a text that has one already gets another, because imports remove one.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_FORMULA_SIGNS = "'=+-@\t\r"


class TooManyRows(BadRequest):
    reason = "too_many_rows"
    message = tr("A sheet has at most {max:,} rows: filter the list, or export it as CSV.", max=MAX_SHEET_ROWS)


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A title, and the function that reads an object's value: text, a number, a date, a boolean, or None."""

    title: str
    value: Callable[[Item], Any]
    is_typed: bool = False
    """Whether imports read its cells by their looks: in text, `1.50` is a number and `TRUE` a boolean."""


@dataclass(frozen=True, slots=True)
class OutputSheet:
    """A sheet to write; the items are read while it is written."""

    title: str
    columns: Sequence[OutputColumn]
    items: Iterable[Item]


def write_workbook(path: Path, sheets: Iterable[OutputSheet]) -> dict[str, int]:
    """Write a workbook in constant memory; returns the number of rows by title. Raises TooManyRows.

    The type of a value decides the type of its cell: a text is a text, also if it starts with `=`.
    """
    counts: dict[str, int] = {}
    book = FastExcel(str(path)).format(bold_headers=True, datetime_format="yyyy-mm-dd").freeze(row=1)
    for sheet in sheets:
        book.sheet(sheet.title, _records(sheet, counts))
    book.save()
    return counts


def _records(sheet: OutputSheet, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The rows as the library takes them: a dictionary each, with the titles as its keys."""
    readers = [(column.title, column.value) for column in sheet.columns]
    assert len(dict(readers)) == len(readers), "Two columns with the same title would become one."
    counts[sheet.title] = 0
    for number, item in enumerate(sheet.items, 1):
        if number > MAX_SHEET_ROWS:
            raise TooManyRows
        counts[sheet.title] = number
        yield {title: _cell(value) if (value := read(item)).__class__ is str else value for title, read in readers}
    if not counts[sheet.title]:
        # It takes the titles from the first row.
        yield {title: None for title, _ in readers}


def _cell(text: str) -> str:
    # The library raises if a text is longer.
    return escape(text)[:MAX_CELL]


def write_csv(path: Path, sheet: OutputSheet) -> int:
    """Write UTF-8 with a byte order mark, by which Excel recognises it; returns the number of rows."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        for count, line in enumerate(csv_lines(sheet)):  # noqa: B007 - the first line has the titles
            file.write(line)
    return count


def csv_lines(sheet: OutputSheet) -> Iterator[str]:
    """The titles, and a line for each item."""
    writer = csv.writer(_LineSink())
    yield writer.writerow(column.title for column in sheet.columns)
    for item in sheet.items:
        yield writer.writerow(_csv_value(column.value(item), is_typed=column.is_typed) for column in sheet.columns)


class _LineSink:
    """The file of a csv writer; `writerow` returns what its `write` returns."""

    def write(self, line: str) -> str:
        return line


def _csv_value(value: Any, *, is_typed: bool) -> Any:
    match value:
        case str():
            text = escape(value, is_typed=is_typed)
            return f"'{text}" if text[:1] in _FORMULA_SIGNS and _FORMULA.match(text) else text
        case bool():
            return "true" if value else "false"
        case None | int() | float():
            return value
        case _:
            return as_json(value)
