"""A workbook with marks but without the user's formats: of delimited text, or if marking in place is refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from app.sheets.cells import Value, as_number
from app.sheets.marking.marks import AUTHOR, COLOURS, COMMENT_WIDTH, RowMarks, SheetMarks
from app.sheets.reserved_titles import STATUS
from app.sheets.workbook import Sheet
from app.sheets.writers import MAX_CELL

MAX_TITLE = 31
"""Characters of the title of a sheet in Excel."""

_FORBIDDEN_IN_TITLES = re.compile(r"[\[\]:*?/\\]|^'|'$")


@dataclass(slots=True)
class CellMark:
    """The format of a marked cell, and the lines of its comment."""

    format: Any = None
    lines: list[str] = field(default_factory=list)


def write_plain(path: Path, sheets: Sequence[Sheet], marks: Mapping[str, SheetMarks]) -> None:
    """Write the values of sheets, with their marks by the name of the sheet."""
    with xlsxwriter.Workbook(
        path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        formats = {kind: book.add_format({"bg_color": f"#{colour}"}) for kind, colour in COLOURS.items()}
        titles: set[str] = set()
        for sheet in sheets:
            _write_sheet(book.add_worksheet(_unique_title(sheet.name, titles)), sheet, marks.get(sheet.name), formats)


def _unique_title(name: str, titles: set[str]) -> str:
    """A title that Excel accepts and no other sheet has."""
    plain = _FORBIDDEN_IN_TITLES.sub("_", name)[:MAX_TITLE] or "Sheet"
    title, number = plain, 1
    while title.lower() in titles:
        number += 1
        title = f"{plain[: MAX_TITLE - 5]} {number}"
    titles.add(title.lower())
    return title


def _write_sheet(page: Worksheet, sheet: Sheet, marks: SheetMarks | None, formats: Mapping[str, Any]) -> None:
    header_row = marks.header_row if marks else 0
    marked_rows = {row.row: row for row in marks.rows} if marks else {}
    status_column = _status_column(sheet, header_row)
    for number, row in enumerate(_rows(sheet), 1):
        marked = marked_rows.get(number)
        status = STATUS if number == header_row else marked.status if marked else None
        cell_marks = _cell_marks(marked, status_column, formats)
        _write_row(page, number, _with_status(row, status_column, status), cell_marks)


def _rows(sheet: Sheet) -> Iterator[list[Value]]:
    for row in sheet.rows():
        if sheet.text is None:
            yield row
        else:
            yield [as_number(cell) if isinstance(cell, str) else cell for cell in row]


def _status_column(sheet: Sheet, header_row: int) -> int:
    width = 0
    for number, row in enumerate(sheet.rows(), 1):
        width = max(width, len(row))
        if number == header_row and STATUS in row:
            return row.index(STATUS)
    return width


def _with_status(row: list[Value], column: int, status: str | None) -> list[Value]:
    if status is None:
        return row
    cells = [*row, *[None] * (column + 1 - len(row))]
    cells[column] = status
    return cells


def _cell_marks(row: RowMarks | None, status_column: int, formats: Mapping[str, Any]) -> dict[int, CellMark]:
    """The marks of a row by column; the last kind gives the colour."""
    cells: dict[int, CellMark] = {}
    for mark in row.marks if row else ():
        cell = cells.setdefault(status_column if mark.column is None else mark.column, CellMark())
        cell.format = formats[mark.kind]
        cell.lines.append(mark.text)
    return cells


def _write_row(page: Worksheet, number: int, row: list[Value], marks: Mapping[int, CellMark]) -> None:
    cells = [*row, *[None] * (1 + max(marks, default=0) - len(row))]
    for column, value in enumerate(cells):
        mark = marks.get(column)
        _write_cell(page, number - 1, column, value, mark.format if mark else None)
        if mark is not None:
            page.write_comment(number - 1, column, "\n".join(mark.lines), {"author": AUTHOR, "width": COMMENT_WIDTH})


def _write_cell(page: Worksheet, row: int, column: int, value: Value, cell_format: Any) -> None:
    match value:
        case None:
            if cell_format is not None:
                page.write_blank(row, column, None, cell_format)
        case bool():
            page.write_boolean(row, column, value, cell_format)
        case int() | float():
            page.write_number(row, column, value, cell_format)
        case _:
            page.write_string(row, column, value[:MAX_CELL], cell_format)
