"""Marks of a workbook: which cells and rows are marked, what their comments say, how they look."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

ERROR, WARNING = "error", "warning"
COLOURS = {ERROR: "FFC7CE", WARNING: "FFEB9C"}
AUTHOR = "Import"
COMMENT_WIDTH = 320
"""In pixels."""
LINE_HEIGHT = 20
_LINE_CHARACTERS = 40


def comment_height(text: str) -> int:
    """The pixels that a comment needs."""
    return LINE_HEIGHT * (1 + sum(1 + len(line) // _LINE_CHARACTERS for line in text.splitlines()))


class Mark(NamedTuple):
    """A comment and a colour for a cell; `column` counts from 0, and is None for the row as a whole.

    If a cell has several marks, the last one gives the colour.
    """

    column: int | None
    kind: str
    text: str


@dataclass(slots=True)
class RowMarks:
    """The marks of a row, numbered from 1 as a spreadsheet does, and its status (None for the row of titles)."""

    row: int
    status: str | None
    marks: list[Mark] = field(default_factory=list)


@dataclass(slots=True)
class SheetMarks:
    """The marks of a sheet; `status_column` counts from 0, and is None if the sheet has no such column yet."""

    sheet: str
    header_row: int
    status_column: int | None
    rows: Iterable[RowMarks]


def save_marks(path: Path, sheets: Iterable[SheetMarks]) -> None:
    """Write marks as JSON lines, for the program in the sandbox; one row at a time is in memory."""
    with path.open("wb") as lines:
        lines.writelines(orjson.dumps(fact, option=orjson.OPT_APPEND_NEWLINE) for fact in _facts(sheets))


def _facts(sheets: Iterable[SheetMarks]) -> Iterator[tuple[object, ...]]:
    for sheet in sheets:
        yield "sheet", sheet.sheet, sheet.header_row, sheet.status_column
        for row in sheet.rows:
            # orjson does not write named tuples.
            yield "row", row.row, row.status, [tuple(mark) for mark in row.marks]


def load_marks(path: Path) -> list[SheetMarks]:
    """Read what `save_marks` has written."""
    sheets: list[SheetMarks] = []
    rows: list[RowMarks] = []
    with path.open("rb") as lines:
        for line in lines:
            match orjson.loads(line):
                case "sheet", name, header_row, status_column:
                    rows = []
                    sheets.append(SheetMarks(name, header_row, status_column, rows))
                case "row", number, status, marks:
                    rows.append(RowMarks(number, status, [Mark(*mark) for mark in marks]))
    return sheets
