"""What a plan says of each row and cell, as marks on the sheets that it was made from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.imports.models import Import, RowAction
from app.imports.plan.store import read_parts
from app.sheets.column_letters import column_index

ERROR, WARNING = "error", "warning"

_CELL = re.compile(r"([A-Z]{1,3})\d+")


@dataclass(frozen=True, slots=True)
class Mark:
    """What is wrong with, or was decided about, a cell; `column` counts from 0, and is None for the whole row."""

    column: int | None
    kind: str
    text: str


@dataclass(slots=True)
class MarkedRow:
    """A row as the spreadsheet numbers it, and what becomes of it (None for the row of titles)."""

    row: int
    status: str | None
    marks: list[Mark] = field(default_factory=list)


def marked_rows(job: Import, sheet: dict[str, Any]) -> Iterator[MarkedRow]:
    """The marks of one sheet, as the import's summary describes it, from top to bottom."""
    problems = [_on_title(problem) for problem in sheet["problems"]]
    if problems:
        yield MarkedRow(sheet["header_row"], None, problems)
    for part in read_parts(job.id, *RowAction, sheet=sheet["sheet"]):
        for row in part.rows:
            # Mistakes come last, so that theirs is the colour of a cell.
            marks = [_on_cell(flaw, WARNING) for flaw in row.warnings] + [_on_cell(flaw, ERROR) for flaw in row.errors]
            yield MarkedRow(row.row, row.action, marks)


def _on_cell(flaw: dict[str, Any], kind: str) -> Mark:
    found = _CELL.fullmatch(flaw["cell"] or "")
    return Mark(column_index(found[1]) if found else None, kind, _sentence(flaw))


def _on_title(problem: dict[str, Any]) -> Mark:
    column = problem.get("column")
    return Mark(column_index(column) if column else None, ERROR, _sentence(problem))


def _sentence(flaw: dict[str, Any]) -> str:
    suggestion = flaw.get("suggestion")
    said: str = flaw["message"]
    return f"{said} Did you mean {suggestion}?" if suggestion and "Did you mean" not in said else said
