"""The program that marks a workbook: bad cells with a fill and a comment, every row with what becomes of it.

Reads `marks`, JSON lines: `{"sheet", "header_row"}`, then `{"row", "status", "marks": [[<column>, <kind>, <text>], …]}`
for each of its rows, columns counted from 0 and null where the row as a whole is meant. Saves to `target`.
"""

from pathlib import Path
from typing import Any

import orjson
from openpyxl import load_workbook
from openpyxl.cell import Cell, MergedCell
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

from app.transfer.addresses import STATUS
from app.transfer.sandbox.process import Options, Output

COLOURS = {"error": "FFC7CE", "warning": "FFEB9C"}
COMMENT_WIDTH = 320
LINE_HEIGHT = 20
LETTERS_A_LINE = 40

_FILLS = {kind: PatternFill("solid", fgColor=colour) for kind, colour in COLOURS.items()}


def run(options: Options, _output: Output) -> None:
    """Mark the workbook at `path`; its macros are left behind."""
    book = load_workbook(options["path"])
    pages = {page.title: page for page in book.worksheets}
    page: Worksheet | None = None
    status = 0
    with Path(options["marks"]).open("rb") as lines:
        for line in lines:
            fact = orjson.loads(line)
            if "sheet" in fact:
                page = pages.get(fact["sheet"])
                status = begin(page, fact["header_row"]) if page is not None else 0
            elif page is not None:
                mark_row(page, status, fact)
    book.save(options["target"])


def begin(page: Worksheet, header_row: int) -> int:
    """Give a sheet its column of statuses, or find the one that it has, and answer its number from 1."""
    titles = {cell.value: cell.column for cell in page[header_row] if isinstance(cell.value, str)}
    if STATUS in titles:
        return titles[STATUS]
    # `max_column` also counts cells that are only formatted, as far as the last one there is.
    status = 1 + max((cell.column for cell in page._cells.values() if cell.value is not None), default=0)
    title = page.cell(header_row, status)
    title.value, title.font = STATUS, Font(bold=True)
    return status


def mark_row(page: Worksheet, status: int, fact: dict[str, Any]) -> None:
    row = fact["row"]
    if fact["status"] is not None:
        page.cell(row, status).value = fact["status"]
    for column, kind, text in fact["marks"]:
        cell = page.cell(row, status if column is None else column + 1)
        mark(_visible(page, cell), kind, text)


def _visible(page: Worksheet, cell: Cell | MergedCell) -> Cell:
    """The cell that is seen in place of one that was merged with others."""
    if isinstance(cell, Cell):
        return cell
    area = next(area for area in page.merged_cells.ranges if cell.coordinate in area)
    found = page.cell(area.min_row, area.min_col)
    assert isinstance(found, Cell)
    return found


def mark(cell: Cell, kind: str, text: str) -> None:
    """Colour a cell and add to what its comment says."""
    cell.fill = _FILLS[kind]
    said = f"{cell.comment.text}\n{text}" if cell.comment is not None else text
    lines = 1 + sum(1 + len(line) // LETTERS_A_LINE for line in said.splitlines())
    cell.comment = Comment(said, "Import", height=LINE_HEIGHT * lines, width=COMMENT_WIDTH)
