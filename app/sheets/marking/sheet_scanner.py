"""The byte positions of rows and cells in the XML of a sheet, found in one pass."""

from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import NamedTuple

from app.sheets.cells import column_index
from app.sheets.marking.xml_edits import Attributes, NotEditable, parse, parser_of, require_namespace

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

_VALUES = ("v", "is", "f")
# Elements behind `legacyDrawing`, in the order of the schema.
_AFTER_SHAPES = frozenset(
    {"legacyDrawingHF", "drawingHF", "picture", "oleObjects", "controls", "AlternateContent", "webPublishItems",
     "tableParts", "extLst"}
)  # fmt: skip


class Cell(NamedTuple):
    """A cell: its column from 1, and the positions of its start tag and, as expat reports it, its end tag."""

    column: int
    start: int
    close: int
    style: str | None
    is_filled: bool
    has_formula: bool


@dataclass(slots=True)
class Row:
    """A row to mark. `cells` are all of them, or only those behind the last value, where the status will be."""

    start: int
    close: int
    cells: list[Cell]


class SheetScan:
    """The rows of a sheet that are to be marked.

    `rows` has those in `marked_rows` by number, with all cells if the number is in `all_cells`. `width` is the last
    column with a value, `title_style` the format of the last title. Raises NotEditable.
    """

    def __init__(
        self, content: bytes, header_row: int, marked_rows: Container[int], all_cells: Collection[int]
    ) -> None:
        self.rows: dict[int, Row] = {}
        self.width = 0
        self.prefix = ""
        self.title_style: str | None = None
        self.dimension: tuple[int, str] | None = None
        self.shapes: str | None = None
        """Id of the relationship to the shapes of its comments."""
        self.shapes_position = 0
        """Where that reference may be inserted."""
        self._header_row, self._marked_rows, self._all_cells = header_row, marked_rows, all_cells
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
            self._start_root(tag, attributes)
        elif self._depth == 2:
            self._start_section(tag.rpartition(":")[2], attributes, self._parser.CurrentByteIndex)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == self._cell_tag:
            self._end_cell()
        elif tag == self._row_tag and self._row in self._marked_rows:
            if self._row in self.rows:
                raise NotEditable(f"Row {self._row} is there twice.")
            self.rows[self._row] = Row(self._row_start, self._parser.CurrentByteIndex, self._cells)
        elif not self._depth:
            self.shapes_position = self.shapes_position or self._parser.CurrentByteIndex

    def _start_root(self, tag: str, attributes: Attributes) -> None:
        require_namespace(tag, attributes, MAIN)
        self.prefix = tag[: -len("worksheet")]
        self._row_tag, self._cell_tag = f"{self.prefix}row", f"{self.prefix}c"
        self._value_tags = {f"{self.prefix}{name}": name == "f" for name in _VALUES}

    def _end_cell(self) -> None:
        if self._is_filled:
            self.width = max(self.width, self._column)
            if self._row == self._header_row:
                self.title_style = self._style
            if self._row not in self._all_cells:
                # Only the cells behind the last value matter, because the status goes there.
                self._cells.clear()
                return
        close = self._parser.CurrentByteIndex
        self._cells.append(Cell(self._column, self._cell_start, close, self._style, self._is_filled, self._has_formula))

    def _start_section(self, name: str, attributes: Attributes, position: int) -> None:
        if name == "dimension" and "ref" in attributes:
            self.dimension = position, attributes["ref"]
        elif name == "sheetData":
            self._has_data = True
        elif name == "legacyDrawing":
            self.shapes = next((value for key, value in attributes.items() if key.endswith(":id")), None)
        elif name in _AFTER_SHAPES and self._has_data:
            self.shapes_position = self.shapes_position or position


_columns: dict[str, int] = {}


def _column_of(reference: str) -> int:
    name = reference.rstrip("0123456789")
    column = _columns.get(name)
    if column is None:
        column = _columns[name] = column_index(name) + 1
    return column
