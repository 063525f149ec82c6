"""What the program that marks a workbook is told of a sheet, and how a mark looks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

COLOURS = {"error": "FFC7CE", "warning": "FFEB9C"}
AUTHOR = "Import"
COMMENT_WIDTH = 320
LINE_HEIGHT = 20
LETTERS_A_LINE = 40

Mark = tuple[int | None, str, str]
"""A column from 1, or None where the row as a whole is meant; the kind; what is said."""


def height_of(text: str) -> int:
    """The pixels that a comment needs."""
    return LINE_HEIGHT * (1 + sum(1 + len(line) // LETTERS_A_LINE for line in text.splitlines()))


@dataclass(slots=True)
class RowMarks:
    """A row's status (None for the row of titles), and its marks; those of one cell may be several."""

    status: str | None
    marks: list[Mark]


@dataclass(slots=True)
class SheetMarks:
    """The rows of a sheet by their numbers; `status_column` counts from 1, and is None where there is none yet."""

    sheet: str
    header_row: int
    status_column: int | None
    rows: dict[int, RowMarks] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status_column is not None:
            self.status_column += 1

    def add(self, row: int, status: str | None, marks: Sequence[tuple[int | None, str, str]]) -> None:
        own = [(None if column is None else column + 1, kind, text) for column, kind, text in marks]
        self.rows[row] = RowMarks(status, own)
