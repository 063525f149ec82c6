"""The errors and warnings of a plan, and the action of each row, as marks of the workbook."""

import re
from collections.abc import Iterator
from typing import Any

from app.core.messages import Message, Term, tr, unpack
from app.imports.map.columns import ColumnUse
from app.imports.models import Import, RowAction
from app.imports.plan.store import read_parts
from app.sheets.cells import column_index
from app.sheets.marking.marks import ERROR, WARNING, Mark, RowMarks, SheetMarks

STATUS_WORDS = {
    "create": Term("create", "新建"),
    "update": Term("update", "更新"),
    "unchanged": Term("unchanged", "无变化"),
    "error": Term("error", "错误"),
}
"""What the status column says of a row, by its action."""

_CELL = re.compile(r"([A-Z]{1,3})\d+")


def marks_of(import_: Import, language: str) -> Iterator[SheetMarks]:
    """The marks of each sheet that has a plan; their rows are read from the database as they are iterated."""
    for sheet in import_.sheets:
        if sheet["resource"] is not None and not sheet["skipped"] and sheet["header_row"] is not None:
            status = next(
                (column["column"] for column in sheet["columns"] if column["use"] == ColumnUse.STATUS.value), None
            )
            yield SheetMarks(
                sheet["sheet"],
                sheet["header_row"],
                None if status is None else column_index(status),
                _rows(import_.id, sheet, language),
            )


def _rows(import_id: int, sheet: dict[str, Any], language: str) -> Iterator[RowMarks]:
    title_marks = [
        _title_mark(warning, WARNING, language) for warning in sheet["sheet_warnings"] if "column" in warning
    ]
    title_marks += [_title_mark(error, ERROR, language) for error in sheet["problems"]]
    if title_marks:
        yield RowMarks(sheet["header_row"], None, title_marks)
    for part in read_parts(import_id, *RowAction, sheet=sheet["sheet"]):
        for row in part.rows:
            # Errors come last, so that a cell with both has their colour.
            marks = [_cell_mark(warning, WARNING, language) for warning in row.warnings]
            marks += [_cell_mark(error, ERROR, language) for error in row.errors]
            yield RowMarks(row.row, STATUS_WORDS[row.action].to(language), marks)


def _cell_mark(entry: dict[str, Any], kind: str, language: str) -> Mark:
    cell = _CELL.fullmatch(entry["cell"] or "")
    return Mark(column_index(cell[1]) if cell else None, kind, _text(entry, language))


def _title_mark(entry: dict[str, Any], kind: str, language: str) -> Mark:
    column = entry.get("column")
    return Mark(column_index(column) if column else None, kind, _text(entry, language))


def _text(entry: dict[str, Any], language: str) -> str:
    suggestion = entry.get("suggestion")
    message: Message = unpack(entry["message"])
    if suggestion and entry["rule"] != "misspelt_column":
        message = tr("{problem} Did you mean {suggestion}?", problem=message, suggestion=suggestion)
    return message.to(language)
