"""Puts marks and statuses into the XML of one sheet."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from app.sheets.cells import column_index, letters
from app.sheets.marking.marks import Mark, SheetMarks
from app.sheets.marking.sheet_scanner import Cell, SheetScan
from app.sheets.marking.xml_edits import Edits, NotEditable, as_xml, element, end_tag, tag_end, with_attributes
from app.sheets.reserved_titles import STATUS

MAX_COLUMNS = 16_384

_MERGED_AREA = re.compile(
    rb"<(?:\w+:)?mergeCell\s[^<>]*?\bref=[\"']([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})[\"']"
)
_RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

MarkedFormat = Callable[[int, str], int]
"""The index of the copy of a format that has the fill of a kind of mark."""


@dataclass(slots=True)
class MarkedRow:
    """What is to be written into a row: its status, and marks by column from 1; None is the status column."""

    status: str | None = None
    marks: dict[int | None, list[Mark]] = field(default_factory=lambda: defaultdict(list))


class Comment(NamedTuple):
    """The text of a comment and its cell, rows and columns counted from 1."""

    row: int
    column: int
    text: str

    @property
    def cell(self) -> str:
        return f"{letters(self.column - 1)}{self.row}"


class SheetEditor:
    """Edits of a sheet part. All methods raise NotEditable."""

    def __init__(self, content: bytes, marks: SheetMarks, marked_format: MarkedFormat) -> None:
        self._content = content
        self.edits = Edits(content)
        self._has_status = marks.status_column is not None
        self._header_row = marks.header_row
        self._marked_format = marked_format
        merged = _merged_cells(content)
        self._rows = _marked_rows(marks, merged)
        all_cells = {number for number, row in self._rows.items() if self._has_status or row.marks.keys() - {None}}
        self._scan = SheetScan(content, marks.header_row, self._rows, all_cells)
        # A status inside of a merged area would not be shown.
        merged_width = max((column for row, column in merged if row in self._rows), default=0)
        self._status_column = 1 + (
            max(self._scan.width, merged_width) if marks.status_column is None else marks.status_column
        )
        self.shapes = self._scan.shapes

    def mark(self) -> list[Comment]:
        """Put the marks into the sheet; returns the comments, which are stored in parts of their own."""
        missing = self._rows.keys() - self._scan.rows.keys()
        if missing:
            raise NotEditable(f"Row {min(missing)} is not in the sheet.")
        if self._status_column > MAX_COLUMNS:
            raise NotEditable("The sheet has no column left for the statuses.")
        comments: list[Comment] = []
        for number, row in self._rows.items():
            self._mark_row(number, row, comments)
        if self._scan.dimension is not None:
            self._extend_dimension(*self._scan.dimension)
        return comments

    def refer_to_shapes(self, relationship: str) -> None:
        """Insert the reference to the part with the shapes of the comments."""
        attributes = (("xmlns:r", _RELATIONSHIPS), ("r:id", relationship))
        self.edits.insert(self._scan.shapes_position, element(f"{self._scan.prefix}legacyDrawing", attributes))

    def _mark_row(self, number: int, marked: MarkedRow, comments: list[Comment]) -> None:
        row = self._scan.rows[number]
        open_end = tag_end(self._content, row.start)
        if end_tag(self._content, open_end, row.close)[0] is None:
            raise NotEditable(f"Row {number} has no cells.")
        adds_title = number == self._header_row and not self._has_status
        status = STATUS if adds_title else marked.status
        columns = {column or self._status_column for column in marked.marks}
        if status is not None:
            columns.add(self._status_column)
        for column in sorted(columns):
            is_status = column == self._status_column
            marks = [*marked.marks.get(column, ()), *(marked.marks.get(None, ()) if is_status else ())]
            text = status if is_status else None
            cell = next((cell for cell in row.cells if cell.column == column), None)
            base = int((cell.style if cell else self._scan.title_style if adds_title else None) or 0)
            style = self._marked_format(base, marks[-1].kind) if marks else base
            if cell is not None:
                self._change(cell, number, style, text)
            else:
                position = next((cell.start for cell in row.cells if cell.column > column), row.close)
                self.edits.insert(position, self._new_cell(number, column, style, text))
            if marks:
                comments.append(Comment(number, column, "\n".join(mark.text for mark in marks)))
        # `spans` is an optional hint that is no longer right.
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
            # calcChain.xml lists it too.
            raise NotEditable("A status is computed by a formula.")
        _, end = end_tag(self._content, open_end, cell.close)
        self.edits.replace(cell.start, end, self._new_cell(row, cell.column, style, text))

    def _new_cell(self, row: int, column: int, style: int, text: str | None) -> bytes:
        prefix = self._scan.prefix
        attributes = [("r", f"{letters(column - 1)}{row}")]
        if style:
            attributes.append(("s", str(style)))
        if text is None:
            return element(f"{prefix}c", attributes)
        content = f"<{prefix}is><{prefix}t>{as_xml(text)}</{prefix}t></{prefix}is>"
        return element(f"{prefix}c", [*attributes, ("t", "inlineStr")], content)

    def _extend_dimension(self, position: int, area: str) -> None:
        """Extend the area that the sheet declares to its statuses."""
        first, colon, last = area.partition(":")
        corner = re.fullmatch(r"([A-Z]{1,3})([0-9]{1,7})", last or first)
        if corner is None:
            return
        column = letters(max(column_index(corner[1]), self._status_column - 1))
        row = max(int(corner[2]), *self._rows)
        end = tag_end(self._content, position)
        tag = with_attributes(self._content[position:end], ref=f"{first}{colon or ':'}{column}{row}")
        self.edits.replace(position, end, tag)


def _marked_rows(marks: SheetMarks, anchors: Mapping[tuple[int, int], tuple[int, int]]) -> dict[int, MarkedRow]:
    """The rows to write by number. A mark of a merged cell moves to the cell that is shown in its place."""
    rows: dict[int, MarkedRow] = defaultdict(MarkedRow)
    if marks.status_column is None:
        rows[marks.header_row] = MarkedRow()
    for row in marks.rows:
        if row.status is not None:
            rows[row.row].status = row.status
        for mark in row.marks:
            if mark.column is None:
                rows[row.row].marks[None].append(mark)
            else:
                number, column = anchors.get((row.row, mark.column + 1), (row.row, mark.column + 1))
                rows[number].marks[column].append(mark)
    return dict(rows)


def _merged_cells(content: bytes) -> dict[tuple[int, int], tuple[int, int]]:
    """Row and column of the shown cell, for the row and column of each cell of a merged area."""
    anchors: dict[tuple[int, int], tuple[int, int]] = {}
    for area in _MERGED_AREA.finditer(content, max(content.rfind(b"sheetData"), 0)):
        left, right = (column_index(area[group].decode()) + 1 for group in (1, 3))
        top, bottom = int(area[2]), int(area[4])
        if (right - left + 1) * (bottom - top + 1) > MAX_COLUMNS:
            raise NotEditable("A merged area is very large.")
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                anchors[row, column] = top, left
    return anchors
