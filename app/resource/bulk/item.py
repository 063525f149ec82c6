"""One item of a bulk request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError

from app.core.audit.recorder import Changes
from app.core.errors import ApiError, Invalid, dotted
from app.core.values import as_json
from app.resource.declaration import Resource
from app.resource.service import changed_values, differing

Row = dict[str, Any]


@dataclass(slots=True, eq=False)
class Item:
    """One submitted item: the id of its object, the values sent, and its error, if any.

    `row` is the stored object that an update changes.
    """

    object_id: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    error: ApiError | None = None
    row: Row | None = None

    def load(self, schema: Schema, values: Mapping[str, Any]) -> None:
        """Validate what is sent, like the body of a request of its own."""
        try:
            self.values = schema.load(values)
        except ValidationError as error:
            self.error = Invalid(errors=dotted(error.messages))

    @property
    def changes(self) -> Changes:
        """The changes of an update, as in its audit record."""
        row = self.row or {}
        # A field without a column, such as a password, is as secret as the column with its hash.
        secret = {name: {"old": None, "new": "changed"} for name in self.values if name not in row}
        new_values = differing(row, self.values)
        return secret | {name: {"old": as_json(row[name]), "new": as_json(new)} for name, new in new_values.items()}

    def merge(self, resource: Resource, stored: Mapping[str, Any]) -> None:
        """Turn the sent values into values of columns, given the stored object."""
        try:
            self.values = changed_values(resource, stored, self.values)
        except Invalid as error:
            self.error = error


def valid(items: Sequence[Item]) -> list[Item]:
    """The items that have no error yet."""
    return [item for item in items if item.error is None]
