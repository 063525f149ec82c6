"""A table of a sheet: what its columns fill, which of its rows are objects, and the warnings of its rows in groups."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app.core.messages import Message
from app.imports.map.columns import ColumnMapping
from app.imports.settings import NOTHING_SET, SavedMapping, SheetSettings, find_field
from app.resource import Field, Resource
from app.sheets.cells import Value
from app.sheets.dates import DateOrder, settle_order
from app.sheets.workbook import Sheet

GroupKey = tuple[str, str | None, str | None, str | None]
"""Rule, letters of the column, field, and what cells are read as where each such meaning is told apart: messages that
have these in common are told once."""

MAX_GROUP_ROWS = 5
MAX_GROUP_VALUES = 10_000
"""Different values that a group counts: a column of a large file may have a new one in each row."""


@dataclass(slots=True)
class MessageGroup:
    """The errors or the warnings of one rule in one column, with the title of the column and the first message."""

    title: str | None
    message: str
    count: int = 0
    rows: list[int] = field(default_factory=list)
    values: Counter[str] = field(default_factory=Counter)

    def add(self, row: int, value: Any) -> None:
        self.count += 1
        if len(self.rows) < MAX_GROUP_ROWS:
            self.rows.append(row)
        if value is not None:
            text = str(value)[:100]
            if text in self.values or len(self.values) < MAX_GROUP_VALUES:
                self.values[text] += 1


class MessageGroups(dict[GroupKey, MessageGroup]):
    """The errors or the warnings of a sheet in groups."""

    def of(self, key: GroupKey, title: str | None, message: str) -> MessageGroup:
        group = self.get(key)
        if group is None:
            group = self[key] = MessageGroup(title, message)
        return group

    def total(self) -> int:
        return sum(group.count for group in self.values())


@dataclass(slots=True)
class Table:
    """A sheet that holds objects of one resource; `errors` are about the sheet as a whole and refuse it.

    `warnings` are about the sheet too; `row_warnings` counts those of its rows.

    `width` is the number of columns in the first rows, and `samples` holds the first different values of a column by
    its index.
    """

    sheet: Sheet
    resource: Resource
    header_row: int
    first_row: int
    settings: SheetSettings = NOTHING_SET
    columns: list[ColumnMapping] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    saved_mapping: SavedMapping | None = None
    dates: DateOrder | None = None
    width: int = 0
    samples: dict[int, list[Value]] = field(default_factory=dict)
    row_warnings: MessageGroups = field(default_factory=MessageGroups)

    def rows(self) -> Iterator[tuple[int, list[Value]]]:
        """The number and the cells of each row of the table that is neither blank nor skipped."""
        last_row = self.settings.last_row or self.sheet.row_count
        for number, cells in islice(enumerate(self.sheet.rows(), 1), self.first_row - 1, last_row):
            if number in self.skipped or not cells:
                continue
            # Most rows have a first cell, and need not be counted.
            if cells[0] or len(cells) > cells.count(None) + cells.count(""):
                yield number, cells

    def date_order(self, column: ColumnMapping) -> DateOrder | None:
        """The order of dates that all cells of a column settle."""
        at = column.index
        return settle_order(cells[at] for _, cells in self.rows() if at < len(cells))

    def match_fields(self) -> Iterator[Field]:
        """The fields, without attributes, by which rows find their objects as it is set."""
        fields = (find_field(self.resource, target) for target in self.settings.match)
        return (item for item in fields if item is not None)

    def column_of(self, name: str) -> ColumnMapping | None:
        return next((column for column in self.columns if column.field and column.field.name == name), None)
