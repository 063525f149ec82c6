"""A report without the user's formats: of delimited text, and of a workbook that cannot be marked itself."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from app.imports.report.marks import MarkedRow
from app.sheets.cell_text import as_number
from app.sheets.marking.facts import COLOURS, COMMENT_WIDTH
from app.sheets.reserved_titles import STATUS
from app.sheets.workbook import Sheet, Value

LONGEST_TITLE = 31
LONGEST_CELL = 32_767
"""Characters; what is beyond them, a workbook cannot hold."""

_FORBIDDEN_IN_TITLES = re.compile(r"[\[\]:*?/\\]|^'|'$")


@dataclass(slots=True)
class Look:
    """How a marked cell looks, and what its comment says."""

    format: Any = None
    texts: list[str] = field(default_factory=list)


def write_plain(path: Path, sheets: Iterable[tuple[Sheet, int, dict[int, MarkedRow]]]) -> None:
    """Write the values of sheets, each given with its header's row and its marks by row."""
    with xlsxwriter.Workbook(
        path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        formats = {kind: book.add_format({"bg_color": f"#{colour}"}) for kind, colour in COLOURS.items()}
        titles: set[str] = set()
        for sheet, header_row, marked in sheets:
            page = book.add_worksheet(_title(sheet.name, titles))
            status = _status_column(sheet, header_row)
            for number, row in enumerate(_rows(sheet), 1):
                found = marked.get(number)
                said = STATUS if number == header_row else found.status if found else None
                _write_row(page, number, _with_status(row, status, said), _looks(found, status, formats))


def _title(name: str, titles: set[str]) -> str:
    """A title that a sheet may have, and no other sheet has."""
    plain = _FORBIDDEN_IN_TITLES.sub("_", name)[:LONGEST_TITLE] or "Sheet"
    title, number = plain, 1
    while title.lower() in titles:
        number += 1
        title = f"{plain[: LONGEST_TITLE - 5]} {number}"
    titles.add(title.lower())
    return title


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


def _with_status(row: list[Value], status: int, said: str | None) -> list[Value]:
    if said is None:
        return row
    cells = [*row, *[None] * (status + 1 - len(row))]
    cells[status] = said
    return cells


def _looks(row: MarkedRow | None, status: int, formats: dict[str, Any]) -> dict[int, Look]:
    """The look of each marked cell of a row; a mistake's colour wins over a warning's."""
    looks: dict[int, Look] = {}
    for mark in row.marks if row else ():
        look = looks.setdefault(status if mark.column is None else mark.column, Look())
        look.format = formats[mark.kind]
        look.texts.append(mark.text)
    return looks


def _write_row(page: Worksheet, number: int, row: list[Value], looks: dict[int, Look]) -> None:
    cells = [*row, *[None] * (1 + max(looks, default=0) - len(row))]
    for at, value in enumerate(cells):
        look = looks.get(at)
        _write_cell(page, number - 1, at, value, look.format if look else None)
        if look is not None:
            page.write_comment(number - 1, at, "\n".join(look.texts), {"author": "Import", "width": COMMENT_WIDTH})


def _write_cell(page: Worksheet, row: int, column: int, value: Value, look: Any) -> None:
    match value:
        case None:
            if look is not None:
                page.write_blank(row, column, None, look)
        case bool():
            page.write_boolean(row, column, value, look)
        case int() | float():
            page.write_number(row, column, value, look)
        case _:
            page.write_string(row, column, value[:LONGEST_CELL], look)
