"""The files of an export, written row by row: a workbook, CSV, JSON."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from app.core.database import as_json
from app.core.envelope import dumps
from app.core.errors import BadRequest
from app.transfer.exports.columns import Column, Item

MOST_ROWS = 1_048_575
"""Rows of a sheet of Excel below its titles."""

MOST_CHARACTERS = 32_767
"""Characters of a cell of Excel."""

# A spreadsheet takes a text that starts so for a formula, whoever wrote it. One that is marked by itself is marked
# again, because reading it back takes a mark away.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


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
    """Write each sheet in turn, in constant memory, and answer its number of rows by its title."""
    counts: dict[str, int] = {}
    with Workbook(path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
        for sheet in sheets:
            page = book.add_worksheet(sheet.title)
            page.freeze_panes(1, 0)
            for place, column in enumerate(sheet.columns):
                page.write_string(0, place, column.title, bold)
            counts[sheet.title] = 0
            for number, item in enumerate(sheet.items, 1):
                if number > MOST_ROWS:
                    raise TooManyRows
                for place, column in enumerate(sheet.columns):
                    _write_cell(page, number, place, column.value(item), day)
                counts[sheet.title] = number
    return counts


def _write_cell(page: Worksheet, row: int, place: int, value: Any, day: Any) -> None:
    match value:
        case None | "":
            return
        case bool():
            page.write_boolean(row, place, value)
        case int() | float() | Decimal():
            page.write_number(row, place, float(value))
        case date():
            page.write_datetime(row, place, datetime.combine(value, time.min), day)
        case _:
            # A longer text would be left out, without a word.
            page.write_string(row, place, str(value)[:MOST_CHARACTERS])


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
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
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
