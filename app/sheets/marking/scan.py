"""Where things stand in the XML of a sheet, found in one pass."""

from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import NamedTuple

from app.sheets.column_letters import column_index
from app.sheets.marking.splice import Attributes, NotEditable, parse, parser_of, require_namespace

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

_VALUES = ("v", "is", "f")
# What may only stand behind the reference to the comments' shapes.
_AFTER_SHAPES = frozenset(
    {"legacyDrawingHF", "drawingHF", "picture", "oleObjects", "controls", "AlternateContent", "webPublishItems",
     "tableParts", "extLst"}
)  # fmt: skip


class Cell(NamedTuple):
    """A cell, where its start tag begins, and where the parser says that its end tag does."""

    column: int
    start: int
    told: int
    style: str | None
    is_filled: bool
    has_formula: bool


@dataclass(slots=True)
class Row:
    """A row that is marked: where it ends, and its cells, or only those that may have to do with its status."""

    start: int
    close: int
    cells: list[Cell]


class Scan:
    """What is found of a sheet: the rows that are wanted, by their numbers, and of the `unfinished` ones all cells.

    `width` is the last column with a value, `title_style` the format of the last title. Raises NotEditable.
    """

    def __init__(self, content: bytes, header_row: int, wanted: Container[int], unfinished: Collection[int]) -> None:
        self.rows: dict[int, Row] = {}
        self.width = 0
        self.prefix = ""
        self.title_style: str | None = None
        self.dimension: tuple[int, str] | None = None
        self.shapes: str | None = None
        self.shapes_at = 0
        """Where the reference to shapes may stand."""
        self._header_row, self._wanted, self._unfinished = header_row, wanted, unfinished
        self._row_tag = self._cell_tag = ""
        self._value_tags: dict[str, bool] = {}
        self._depth = self._row = self._column = self._row_start = self._cell_start = 0
        self._cells: list[Cell] = []
        self._style: str | None = None
        self._is_filled = self._has_formula = self._has_data = False
        self._parser = parser_of(self._start, self._end)
        parse(self._parser, content)

    def _start(self, tag: str, attributes: Attributes) -> None:
        self._depth += 1
        if tag == self._cell_tag:
            reference = attributes.get("r")
            self._column = _column_of(reference) if reference else self._column + 1
            self._cell_start, self._style = self._parser.CurrentByteIndex, attributes.get("s")
            self._is_filled = self._has_formula = False
        elif tag in self._value_tags:
            self._is_filled = True
            self._has_formula = self._has_formula or self._value_tags[tag]
        elif tag == self._row_tag:
            self._row = int(attributes["r"]) if "r" in attributes else self._row + 1
            self._column, self._row_start, self._cells = 0, self._parser.CurrentByteIndex, []
        elif self._depth == 1:
            self._begin(tag, attributes)
        elif self._depth == 2:
            self._note(tag.rpartition(":")[2], attributes, self._parser.CurrentByteIndex)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == self._cell_tag:
            self._end_cell()
        elif tag == self._row_tag and self._row in self._wanted:
            if self._row in self.rows:
                raise NotEditable(f"There are two rows {self._row}.")
            self.rows[self._row] = Row(self._row_start, self._parser.CurrentByteIndex, self._cells)
        elif not self._depth:
            self.shapes_at = self.shapes_at or self._parser.CurrentByteIndex

    def _begin(self, tag: str, attributes: Attributes) -> None:
        require_namespace(tag, attributes, MAIN)
        self.prefix = tag[: -len("worksheet")]
        self._row_tag, self._cell_tag = f"{self.prefix}row", f"{self.prefix}c"
        self._value_tags = {f"{self.prefix}{name}": name == "f" for name in _VALUES}

    def _end_cell(self) -> None:
        if self._is_filled:
            self.width = max(self.width, self._column)
            if self._row == self._header_row:
                self.title_style = self._style
            if self._row not in self._unfinished:
                # Of the others only those matter that stand behind the last value, where the status will.
                self._cells.clear()
                return
        told = self._parser.CurrentByteIndex
        self._cells.append(Cell(self._column, self._cell_start, told, self._style, self._is_filled, self._has_formula))

    def _note(self, name: str, attributes: Attributes, at: int) -> None:
        if name == "dimension" and "ref" in attributes:
            self.dimension = at, attributes["ref"]
        elif name == "sheetData":
            self._has_data = True
        elif name == "legacyDrawing":
            self.shapes = next((value for key, value in attributes.items() if key.endswith(":id")), None)
        elif name in _AFTER_SHAPES and self._has_data:
            self.shapes_at = self.shapes_at or at


_columns: dict[str, int] = {}


def _column_of(reference: str) -> int:
    name = reference.rstrip("0123456789")
    found = _columns.get(name)
    if found is None:
        found = _columns[name] = column_index(name) + 1
    return found
