"""Parsed rows: the values of a row, the object that it describes, and its errors and warnings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.imports.map.columns import ColumnMapping
from app.imports.map.table import Table
from app.imports.models import RowAction
from app.sheets.cells import CellError, Value

RowMessage = dict[str, Any]
"""An error or a warning of a cell or a row. Its message is translated when it is shown."""

MAX_WARNINGS = 1000
"""Warnings of one rule and column that are kept with their rows; all are counted."""

_NO_VALUES: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class ParsedRow:
    """A row of a table and the object that it describes.

    The parse stage fills the first block. `values` holds only fields that the row fills; a reference is the name in
    its cell until the plan stage replaces it by the id of a stored object, or by the row that creates the object.
    `more_warnings` is the number of warnings that are only counted, beyond the first ones of their rule and column.
    `reference_names` keeps these names; rows with the same ones share it.

    The plan stage fills the second block: `existing` is the stored object by column and `old` its values that change;
    `merged_into` is the row of another sheet that describes the same object and has taken over the values.
    """

    table: Table
    number: int
    values: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    reference_names: Mapping[str, str] = field(default_factory=lambda: _NO_VALUES)
    exported_id: int | None = None
    exported_version: int | None = None
    exported_by: str | None = None
    errors: Sequence[RowMessage] = ()
    warnings: Sequence[RowMessage] = ()
    more_warnings: int = 0

    existing: Any = None
    old: Mapping[str, Any] = field(default_factory=lambda: _NO_VALUES)
    action: RowAction = RowAction.UNCHANGED
    position: int = 0
    merged_into: "ParsedRow | None" = None

    @property
    def object_id(self) -> int | None:
        return None if self.existing is None else self.existing["id"]

    @property
    def target(self) -> "int | ParsedRow":
        """The value of a reference to the object of this row."""
        return self if self.existing is None else self.existing["id"]

    def add_error(
        self, name: str | None, rule: str, message: str, suggestion: str | None = None, *, value: Any = None
    ) -> None:
        """Add an error of a field at its cell, or of the row; `value` replaces the field's value in the message."""
        column = self.table.column_of(name) if name else None
        if name and value is None:
            value = self.reference_names.get(name, self.values.get(name))
        shown = value if isinstance(value, str | int | float | bool) else None
        error = CellError(rule, message, suggestion)
        self.errors = [*self.errors, row_message(self.number, column, name, shown, error)]

    def add_cell_error(self, column: ColumnMapping, value: Value, error: CellError) -> None:
        self.errors = [*self.errors, row_message(self.number, column, column.target, value, error)]

    def add_warning(
        self, column: ColumnMapping | None, value: Value, rule: str, message: str, meaning: str | None = None
    ) -> None:
        """Add a warning of a cell, or of the row as a whole; those of each meaning are counted apart."""
        name, letters, title = (column.target, column.letters, column.title) if column else (None, None, None)
        group = self.table.row_warnings.of((rule, letters, name, meaning), title, message)
        if group.count < MAX_WARNINGS:
            warning = row_message(self.number, column, name, value, CellError(rule, message))
            self.warnings = [*self.warnings, warning]
        else:
            self.more_warnings += 1
        group.add(self.number, value)


@dataclass(slots=True)
class ParsedTable:
    """A table and its rows; a table with errors has none."""

    table: Table
    rows: list[ParsedRow]


def row_message(row: int, column: ColumnMapping | None, name: str | None, value: Value, error: CellError) -> RowMessage:
    return {
        "cell": column.cell(row) if column else None,
        "column": column.title if column else None,
        "field": name,
        "value": value,
        "rule": error.rule,
        "message": error.message,
        "suggestion": error.suggestion,
    }


def dict_factory(keys: Iterable[str]) -> Callable[[], dict[str, Any]]:
    """A function that returns empty dicts which share these keys, as the attributes of a class do (PEP 412).

    An import of 100,000 rows with 15 columns took 61 MB more without it, in the same time.
    """

    class Shared:
        pass

    # The class learns its keys from its first instance.
    first = vars(Shared())
    for key in keys:
        first[key] = None
    return lambda: vars(Shared())
