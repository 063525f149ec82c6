"""Marking the XML of one sheet: cells get the look of a mark, rows a status behind their last value."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from app.sheets.column_letters import column_index, letters
from app.sheets.marking.facts import SheetMarks
from app.sheets.marking.scan import Cell, Scan
from app.sheets.marking.splice import Edits, NotEditable, as_xml, closed, element, tag_end, with_attributes
from app.sheets.reserved_titles import STATUS

MOST_COLUMNS = 16_384

_AREA = re.compile(rb"<(?:\w+:)?mergeCell\s[^<>]*?\bref=[\"']([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})[\"']")
Look = Callable[[int, str], int]
"""The number of the format that is another one but for the fill of a kind of mark."""


@dataclass(slots=True)
class Wanted:
    """What is to be marked in a row: a kind and texts by column; `of_row` is for the cell of its status."""

    status: str | None = None
    cells: dict[int, tuple[str, list[str]]] = field(default_factory=dict)
    of_row: tuple[str, list[str]] | None = None

    def add(self, column: int | None, kind: str, text: str) -> None:
        _, texts = (self.of_row if column is None else self.cells.get(column)) or (kind, [])
        # The last kind gives the colour.
        if column is None:
            self.of_row = kind, [*texts, text]
        else:
            self.cells[column] = kind, [*texts, text]


class Comment(NamedTuple):
    """What is said of a cell; rows and columns count from 1."""

    row: int
    column: int
    text: str

    @property
    def cell(self) -> str:
        return f"{letters(self.column - 1)}{self.row}"


class SheetPart:
    """A sheet's XML on its way to being marked. Everything raises NotEditable."""

    def __init__(self, content: bytes, marks: SheetMarks, look: Look) -> None:
        self._content = content
        self.edits = Edits(content)
        self._marks = marks
        self._look = look
        self._wanted = _wanted(marks, _merged(content))
        unfinished = {number for number, row in self._wanted.items() if row.cells or marks.status_column is not None}
        self._found = Scan(content, marks.header_row, self._wanted, unfinished)
        self.shapes = self._found.shapes
        """The relationship of the shapes that the sheet has already."""

    def mark(self) -> list[Comment]:
        """Put the marks into the sheet, and answer what is to be said beside it."""
        missing = self._wanted.keys() - self._found.rows.keys()
        if missing:
            raise NotEditable(f"Row {min(missing)} is not there.")
        status = self._marks.status_column or self._found.width + 1
        if status > MOST_COLUMNS:
            raise NotEditable("There is no column left.")
        comments: list[Comment] = []
        for number, wanted in self._wanted.items():
            self._mark_row(number, wanted, status, comments)
        if self._found.dimension is not None:
            self._extend(*self._found.dimension, status)
        return comments

    def refer_to_shapes(self, relationship: str) -> None:
        """Have the sheet show the shapes of its comments."""
        namespace = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        attributes = (("xmlns:r", namespace), ("r:id", relationship))
        self.edits.insert(self._found.shapes_at, element(f"{self._found.prefix}legacyDrawing", attributes))

    def _mark_row(self, number: int, wanted: Wanted, status: int, comments: list[Comment]) -> None:
        row = self._found.rows[number]
        open_end = tag_end(self._content, row.start)
        if closed(self._content, open_end, row.close)[0] is None:
            raise NotEditable(f"Row {number} has no cells.")
        said: dict[int, str | None] = dict.fromkeys(wanted.cells)
        is_title = number == self._marks.header_row and self._marks.status_column is None
        text = STATUS if is_title else wanted.status
        if text is not None or wanted.of_row is not None:
            said[status] = text
        for column, value in sorted(said.items()):
            marks = [wanted.cells.get(column), wanted.of_row if column == status else None]
            kinds = [one[0] for one in marks if one is not None]
            texts = [line for one in marks if one is not None for line in one[1]]
            found = next((cell for cell in row.cells if cell.column == column), None)
            like = found.style if found else self._found.title_style if is_title else None
            base = int(like or 0)
            style = self._look(base, kinds[-1]) if kinds else base
            if found is not None:
                self._change(found, number, style, value)
            else:
                at = next((cell.start for cell in row.cells if cell.column > column), row.close)
                self.edits.insert(at, self._cell(number, column, style, value))
            if texts:
                comments.append(Comment(number, column, "\n".join(texts)))
        # They are a hint only, and not right any more.
        tag = self._content[row.start : open_end]
        if b"spans" in tag:
            self.edits.replace(row.start, open_end, with_attributes(tag, spans=None))

    def _change(self, cell: Cell, row: int, style: int, text: str | None) -> None:
        open_end = tag_end(self._content, cell.start)
        if text is None:
            tag = with_attributes(self._content[cell.start : open_end], s=str(style))
            self.edits.replace(cell.start, open_end, tag)
            return
        if cell.has_formula:
            raise NotEditable("The order of the calculations would have to be changed.")
        _, end = closed(self._content, open_end, cell.told)
        self.edits.replace(cell.start, end, self._cell(row, cell.column, style, text))

    def _cell(self, row: int, column: int, style: int, text: str | None) -> bytes:
        attributes = [("r", f"{letters(column - 1)}{row}")]
        if style:
            attributes.append(("s", str(style)))
        if text is None:
            return element(f"{self._found.prefix}c", attributes)
        tag = self._found.prefix
        content = f"<{tag}is><{tag}t>{as_xml(text)}</{tag}t></{tag}is>"
        return element(f"{self._found.prefix}c", [*attributes, ("t", "inlineStr")], content)

    def _extend(self, at: int, area: str, status: int) -> None:
        """Have the sheet say that it goes as far as its statuses."""
        first, colon, last = area.partition(":")
        corner = re.fullmatch(r"([A-Z]{1,3})([0-9]{1,7})", last or first)
        if corner is None:
            return
        column = letters(max(column_index(corner[1]), status - 1))
        row = max(int(corner[2]), *self._wanted)
        end = tag_end(self._content, at)
        tag = with_attributes(self._content[at:end], ref=f"{first}{colon or ':'}{column}{row}")
        self.edits.replace(at, end, tag)


def _wanted(marks: SheetMarks, anchors: Mapping[tuple[int, int], tuple[int, int]]) -> dict[int, Wanted]:
    """What is to be done by row; a mark of a cell that was merged with others is for the one that is seen."""
    wanted: dict[int, Wanted] = defaultdict(Wanted)
    if marks.status_column is None:
        wanted[marks.header_row] = Wanted()
    for row, marked in marks.rows.items():
        if marked.status is not None:
            wanted[row].status = marked.status
        for column, kind, text in marked.marks:
            place = (row, column) if column is None else anchors.get((row, column), (row, column))
            wanted[place[0]].add(place[1], kind, text)
    return dict(wanted)


def _merged(content: bytes) -> dict[tuple[int, int], tuple[int, int]]:
    """The cell that is seen for each one that was merged into it."""
    anchors: dict[tuple[int, int], tuple[int, int]] = {}
    for found in _AREA.finditer(content, max(content.rfind(b"sheetData"), 0)):
        left, right = (column_index(found[at].decode()) + 1 for at in (1, 3))
        top, bottom = int(found[2]), int(found[4])
        if (right - left + 1) * (bottom - top + 1) > MOST_COLUMNS:
            raise NotEditable("A merged area is very large.")
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                anchors[row, column] = top, left
    return anchors
