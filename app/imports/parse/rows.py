"""The rows of a table as drafts of objects: values read, mistakes noted, references still names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.imports.map.tables import Column, Table
from app.imports.models import Action
from app.sheets.cell_text import CellError
from app.sheets.workbook import Value

Flaw = dict[str, Any]
"""What is wrong with a cell or a row, as the plan shows it."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Draft:
    """What a row wants its object to be.

    `values` holds only the fields that the row fills; a reference is first the name that the cell says, then the
    id of an object or the draft of one that the same file creates. `existing` is the object's row in the database.
    `completes` is the row of another sheet that describes the same object, and has taken over the values.
    """

    table: Table
    row: int
    values: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    identity: int | None = None
    version: int | None = None
    errors: Sequence[Flaw] = ()
    warnings: Sequence[Flaw] = ()
    existing: Any = None
    old: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    action: Action = Action.UNCHANGED
    position: int = 0
    completes: "Draft | None" = None

    @property
    def object_id(self) -> int | None:
        return None if self.existing is None else self.existing["id"]

    @property
    def target(self) -> "int | Draft":
        """What a reference to this row refers to."""
        return self if self.existing is None else self.existing["id"]

    def take_from(self, stored: Mapping[str, Any]) -> None:
        """Leave alone the attributes that delimited text, which has no types, writes as they are stored."""
        if self.table.sheet.text is not None:
            for name, value in self.attributes.items():
                if value is not None and name in stored and _written(stored[name]) == _written(value):
                    self.attributes[name] = stored[name]

    def fail(
        self, name: str | None, rule: str, message: str, suggestion: str | None = None, *, value: Any = None
    ) -> None:
        """Note a mistake, at the cell of the field where the table has one; `value` instead of the field's own."""
        column = self.table.column_of(name) if name else None
        if name and value is None:
            value = self.names.get(name, self.values.get(name))
        flaw = {
            "cell": column.cell(self.row) if column else None,
            "column": column.title if column else None,
            "field": name,
            "value": value if isinstance(value, str | int | float | bool) else None,
            "rule": rule,
            "message": message,
            "suggestion": suggestion,
        }
        self.errors = [*self.errors, flaw]

    def fail_cell(self, column: Column, value: Value, error: CellError) -> None:
        """Note that a cell cannot be read."""
        self.errors = [*self.errors, _flaw(self, column, value, error)]

    def warn(self, column: Column | None, value: Value, rule: str, message: str) -> None:
        """Note what was decided about a cell, or about the row as a whole."""
        self.warnings = [*self.warnings, _flaw(self, column, value, CellError(rule, message))]


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flaw(draft: Draft, column: Column | None, value: Value, error: CellError) -> Flaw:
    name = None if column is None else column.field.name if column.field else column.attribute
    return {
        "cell": column.cell(draft.row) if column else None,
        "column": column.title if column else None,
        "field": name,
        "value": value,
        "rule": error.rule,
        "message": error.message,
        "suggestion": error.suggestion,
    }
