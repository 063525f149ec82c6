"""The files of an export, written row by row: a workbook, CSV, JSON."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rustpy_xlsxwriter import FastExcel

from app.core.errors import BadRequest
from app.core.http.envelope import dumps
from app.core.values import as_json
from app.exports.columns import Column, Item

MOST_ROWS = 1_048_575
"""Rows of a sheet of Excel below its titles."""

MOST_CHARACTERS = 32_767
"""Characters of a cell of Excel."""

# A spreadsheet takes a text that starts so for a formula, whoever wrote it. One that is marked by itself is marked
# again, because reading it back takes a mark away.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_SUSPECT = "'=+-@\t\r"


class TooManyRows(BadRequest):
    reason = "too_many_rows"
    message = f"A sheet has at most {MOST_ROWS:,} rows: filter the list, or export it as CSV."


@dataclass(frozen=True, slots=True)
class Sheet:
    """What goes into one sheet; the items are read while it is written."""

    title: str
    columns: Sequence[Column]
    items: Iterable[Item]


def write_workbook(path: Path, sheets: Iterable[Sheet]) -> dict[str, int]:
    """Write each sheet in turn, in constant memory, and answer its number of rows by its title.

    Cells are written by type: texts as texts, whatever they look like.
    """
    counts: dict[str, int] = {}
    book = FastExcel(str(path)).format(bold_headers=True, datetime_format="yyyy-mm-dd").freeze(row=1)
    for sheet in sheets:
        book.sheet(sheet.title, _records(sheet, counts))
    book.save()
    return counts


def _records(sheet: Sheet, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """What the writer asks for, row by row; it finds the titles in the first one."""
    readers = [(column.title, column.value) for column in sheet.columns]
    assert len(dict(readers)) == len(readers), "Two columns with one title would be one."
    counts[sheet.title] = 0
    for number, item in enumerate(sheet.items, 1):
        if number > MOST_ROWS:
            raise TooManyRows
        counts[sheet.title] = number
        # A longer text would be refused, and the export with it.
        yield {
            title: value[:MOST_CHARACTERS] if (value := read(item)).__class__ is str else value
            for title, read in readers
        }
    if not counts[sheet.title]:
        yield {title: None for title, _ in readers}


def write_csv(path: Path, sheet: Sheet) -> int:
    """Write UTF-8 with a mark that tells Excel so, and answer the number of rows."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        for count, line in enumerate(csv_lines(sheet)):  # noqa: B007 - it is the answer
            file.write(line)
    return count


def csv_lines(sheet: Sheet) -> Iterator[str]:
    """The titles, and a line for each item."""
    lines = csv.writer(_Line())
    yield lines.writerow(column.title for column in sheet.columns)
    for item in sheet.items:
        yield lines.writerow(_as_csv(column.value(item)) for column in sheet.columns)


class _Line:
    """What a CSV writer writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def _as_csv(value: Any) -> Any:
    match value:
        case str():
            return f"'{value}" if value[:1] in _SUSPECT and _FORMULA.match(value) else value
        case bool():
            return "true" if value else "false"
        case None | int() | float():
            return value
        case _:
            return as_json(value)


def write_json(path: Path, items: Iterable[Item]) -> int:
    """Write the objects as a list shows them, in the envelope, and answer how many there are."""
    count = 0
    with path.open("wb") as file:
        file.write(b'{"code":0,"message":"success","data":[')
        for count, text in enumerate(map(dumps, _plain(items)), 1):
            file.write((b"," if count > 1 else b"") + text)
        file.write(b"]}")
    return count


def _plain(items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    return (dict(item) for item in items)
