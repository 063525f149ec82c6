"""The rows of a table as drafts of objects: values read, mistakes noted, references still names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import ValidationError

from app.core.database import MAX_ID
from app.resource.fields import Kind
from app.resource.schema import clean_attributes
from app.transfer.cells import Read, Reading, reader_of
from app.transfer.dates import Guess
from app.transfer.layout import Column, Table, Use
from app.transfer.models import Action
from app.transfer.said import CLEAR, CellError, as_number, as_text, is_placeholder
from app.transfer.workbook import Value


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
    identity: int | None = None
    version: int | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    existing: Any = None
    old: dict[str, Any] = field(default_factory=dict)
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

    def fail(self, name: str | None, rule: str, message: str, suggestion: str | None = None) -> None:
        """Note a mistake, at the cell of the field where the table has one."""
        column = self.table.column_of(name) if name else None
        value = self.names.get(name, self.values.get(name)) if name else None
        self.errors.append(
            {
                "cell": column.cell(self.row) if column else None,
                "column": column.title if column else None,
                "field": name,
                "value": value if isinstance(value, str | int | float | bool) else None,
                "rule": rule,
                "message": message,
                "suggestion": suggestion,
            }
        )


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_drafts(table: Table) -> Iterator[Draft]:
    """Each row below the header that is not blank, with every mistake of every cell."""
    readers = [
        (column, reader_of(column.field, Reading(column.scale, epoch_1904=table.sheet.epoch_1904)))
        for column in table.columns
        if column.use is Use.FIELD and column.field is not None
    ]
    others = [column for column in table.columns if column.use in (Use.ATTRIBUTE, Use.IDENTITY, Use.VERSION)]
    for number, cells in enumerate(table.sheet.rows(), 1):
        if number < table.first_row or not any(cell not in (None, "") for cell in cells):
            continue
        draft = Draft(table, number)
        width = len(cells)
        for column, read in readers:
            value = cells[column.index] if column.index < width else None
            if value is not None and value != "":
                _fill(draft, column, read, value)
        for column in others:
            value = cells[column.index] if column.index < width else None
            if value is not None and value != "":
                _keep(draft, column, value)
        if draft.attributes:
            _check_attributes(draft)
        yield draft


def _fill(draft: Draft, column: Column, read: Read, value: Value) -> None:
    assert column.field is not None
    item = column.field
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return
        if value == CLEAR:
            _clear(draft, column)
            return
        if is_placeholder(value):
            _warn(draft, column, value, "placeholder", "Read as empty: the value stays as it is.")
            return
    try:
        found = read(value)
    except CellError as error:
        draft.errors.append(_flaw(draft, column, value, error))
        return
    if isinstance(found, Guess):
        _warn(draft, column, value, "guess", found.message)
        found = found.value
        if found is None:
            return
    if item.kind is Kind.ATTRIBUTES:
        draft.attributes.update(found)
        return
    draft.values[item.name] = found
    if item.kind is Kind.REFERENCE:
        draft.names[item.name] = found


def _clear(draft: Draft, column: Column) -> None:
    assert column.field is not None
    if column.field.kind is Kind.LIST:
        draft.values[column.field.name] = []
    elif column.field.nullable:
        draft.values[column.field.name] = None
    else:
        draft.errors.append(
            _flaw(draft, column, CLEAR, CellError("required", f"{column.field.title} may not be empty."))
        )


def _keep(draft: Draft, column: Column, value: Value) -> None:
    if draft.table.sheet.text is not None and isinstance(value, str):
        # Text has no numbers: what is written as one is one, where no field says otherwise.
        value = as_number(value)
    if column.use in (Use.IDENTITY, Use.VERSION):
        if not isinstance(value, int) or not 0 < value <= MAX_ID:
            what = "an id" if column.use is Use.IDENTITY else "a version"
            draft.errors.append(_flaw(draft, column, value, CellError(column.use.value, f"Must be {what}.")))
        elif column.use is Use.IDENTITY:
            draft.identity = value
        else:
            draft.version = value
        return
    assert column.attribute is not None
    if not isinstance(value, str):
        draft.attributes[column.attribute] = value
        return
    try:
        text = as_text(value)
    except CellError as error:
        draft.errors.append(_flaw(draft, column, value, error))
        return
    if text:
        draft.attributes[column.attribute] = None if text == CLEAR else text


def _check_attributes(draft: Draft) -> None:
    try:
        draft.attributes = clean_attributes(draft.attributes)
    except ValidationError as error:
        draft.fail("attributes", "attributes", str(error.messages))


def _flaw(draft: Draft, column: Column, value: Value, error: CellError) -> dict[str, Any]:
    return {
        "cell": column.cell(draft.row),
        "column": column.title,
        "field": column.field.name if column.field else column.attribute,
        "value": value,
        "rule": error.rule,
        "message": error.message,
        "suggestion": error.suggestion,
    }


def _warn(draft: Draft, column: Column, value: Value, rule: str, message: str) -> None:
    draft.warnings.append(_flaw(draft, column, value, CellError(rule, message)))
