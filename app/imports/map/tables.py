"""A sheet as a table of objects: its columns, what each is for, and its rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Any

from app.resource.declaration import Resource
from app.resource.fields import Field
from app.sheets.column_letters import letters
from app.sheets.workbook import Sheet, Value

MAX_TITLE = 255


class Use(Enum):
    """What becomes of a column."""

    FIELD = "field"
    IDENTITY = "identity"
    VERSION = "version"
    STATUS = "status"
    ATTRIBUTE = "attribute"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `scale` brings its numbers into the unit of its field."""

    index: int
    title: str
    use: Use
    field: Field | None = None
    attribute: str | None = None
    scale: float = 1.0

    def cell(self, row: int) -> str:
        """The address of its cell in a row, as the spreadsheet shows it."""
        return f"{letters(self.index)}{row}"

    def describe(self) -> dict[str, Any]:
        return {
            "column": letters(self.index),
            "title": self.title,
            "use": self.use.value,
            "field": self.field.name if self.field else None,
            "attribute": self.attribute,
        }


@dataclass(frozen=True, slots=True)
class Remembered:
    """A mapping that its user has named, and the resource of the sheets that it was made for."""

    id: int
    name: str
    resource: str
    mapping: Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """A sheet that holds objects of one resource. `problems` are about the sheet as a whole.

    `signature` stands for its titles; by it the mapping that was `remembered` for them is known.
    """

    sheet: Sheet
    resource: Resource
    header_row: int
    first_row: int
    columns: list[Column]
    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)
    signature: str = ""
    remembered: Remembered | None = None

    def rows(self) -> Iterator[tuple[int, list[Value]]]:
        """The cells of each row of objects, with its number: neither blank nor left out by its own wish."""
        for number, cells in islice(enumerate(self.sheet.rows(), 1), self.first_row - 1, None):
            if number not in self.left_out and any(cell not in (None, "") for cell in cells):
                yield number, cells

    def column_of(self, name: str) -> Column | None:
        return next((item for item in self.columns if item.field and item.field.name == name), None)


def problem(rule: str, message: str, **facts: Any) -> dict[str, Any]:
    return {"rule": rule, "message": message, **facts}
