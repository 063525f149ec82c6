"""Marking a workbook by reading and writing all of it: shapes, slicers and macros are left behind."""

from collections.abc import Sequence

from openpyxl import load_workbook
from openpyxl.cell import Cell, MergedCell
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

from app.sheets.marking.facts import AUTHOR, COLOURS, COMMENT_WIDTH, RowMarks, SheetMarks, height_of
from app.sheets.reserved_titles import STATUS

_FILLS = {kind: PatternFill("solid", fgColor=colour) for kind, colour in COLOURS.items()}


def mark(path: str, target: str, sheets: Sequence[SheetMarks]) -> None:
    """Save the workbook with its marks; takes about half a millisecond a row."""
    book = load_workbook(path)
    pages = {page.title: page for page in book.worksheets}
    for sheet in sheets:
        page = pages.get(sheet.sheet)
        if page is not None:
            status = sheet.status_column or _add_status(page, sheet.header_row)
            for row, marked in sheet.rows.items():
                _mark_row(page, status, row, marked)
    book.save(target)


def _add_status(page: Worksheet, header_row: int) -> int:
    """Give a sheet its column of statuses, and answer its number from 1."""
    # `max_column` also counts cells that are only formatted, as far as the last one there is.
    status = 1 + max((cell.column for cell in page._cells.values() if cell.value is not None), default=0)
    title = page.cell(header_row, status)
    title.value, title.font = STATUS, Font(bold=True)
    return status


def _mark_row(page: Worksheet, status: int, row: int, marked: RowMarks) -> None:
    if marked.status is not None:
        page.cell(row, status).value = marked.status
    for column, kind, text in marked.marks:
        _mark(_visible(page, page.cell(row, column or status)), kind, text)


def _visible(page: Worksheet, cell: Cell | MergedCell) -> Cell:
    """The cell that is seen in place of one that was merged with others."""
    if isinstance(cell, Cell):
        return cell
    area = next(area for area in page.merged_cells.ranges if cell.coordinate in area)
    found = page.cell(area.min_row, area.min_col)
    assert isinstance(found, Cell)
    return found


def _mark(cell: Cell, kind: str, text: str) -> None:
    """Colour a cell and add to what its comment says."""
    cell.fill = _FILLS[kind]
    said = f"{cell.comment.text}\n{text}" if cell.comment is not None else text
    cell.comment = Comment(said, AUTHOR, height=height_of(said), width=COMMENT_WIDTH)
