"""Store and read the plan: exactly what is shown, and exactly what is applied."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from app.core.db.unit_of_work import db
from app.core.messages import Message, unpack
from app.imports.models import ImportPart, RowAction
from app.imports.parse.rows import RowMessage
from app.imports.plan.written import WrittenPlan

parts = ImportPart.__table__


class PlannedRow(NamedTuple):
    """What the plan does with one row of the file.

    `new` and `old` hold the values of the fields that change as JSON has them. A reference in `new` is
    {"id", "name"}, or {"row": <position>, "name"} where an earlier row of the file creates the object. The messages of
    errors and warnings are in no language yet; `more_warnings` is the number of warnings that are only counted.
    """

    row: int
    action: str
    object_id: int | None
    version: int | None
    name: str | None
    new: dict[str, Any]
    old: dict[str, Any] | None
    errors: Sequence[RowMessage]
    warnings: Sequence[RowMessage]
    more_warnings: int

    def has_warnings(self) -> bool:
        return bool(self.warnings or self.more_warnings)


@dataclass(frozen=True)
class PlanPart:
    """Successive rows of a sheet; `first` is the position of the first one among all rows of the import."""

    import_id: int
    first: int
    sheet: str
    resource: str
    created_ids: list[int] | None
    _json: str = field(repr=False)

    @cached_property
    def rows(self) -> list[PlannedRow]:
        return [PlannedRow(*row) for row in orjson.loads(self._json)]

    def rows_with(self, action: RowAction) -> Iterator[tuple[int, PlannedRow]]:
        """Its rows with this action, each with its position."""
        return ((position, row) for position, row in enumerate(self.rows, self.first) if row.action == action.value)


def explained(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `packed` has made as the API shows it: each with its message and the parameters in it."""
    messages = ((entry, _message(entry["message"])) for entry in entries)
    return [{**entry, "message": message, "parameters": message.parameters} for entry, message in messages]


def _message(stored: Any) -> Message:
    message = unpack(stored)
    return message if isinstance(message, Message) else Message(message)


def store_plan(import_id: int, plan: WrittenPlan) -> None:
    """Store a plan in place of an earlier one, in the current transaction."""
    delete_plan(import_id)
    for values in plan.parts():
        db.session.execute(sa.insert(parts).inline(), {"import_id": import_id, **values})


def delete_plan(import_id: int) -> None:
    db.session.execute(sa.delete(parts).where(parts.c.import_id == import_id))


def read_parts(
    import_id: int,
    *actions: RowAction,
    resource: str | None = None,
    sheet: str | None = None,
    backwards: bool = False,
) -> Iterator[PlanPart]:
    """The parts that have rows with any of these actions, in their order, one at a time.

    Each refers only to those before it; `backwards`, each is referred to only by those before it.
    """
    conditions = [parts.c.import_id == import_id, sa.or_(*(parts.c[action.value] > 0 for action in actions))]
    if resource is not None:
        conditions.append(parts.c.resource == resource)
    if sheet is not None:
        conditions.append(parts.c.sheet == sheet[:255])
    order = parts.c.first.desc() if backwards else parts.c.first
    for first in db.session.scalars(sa.select(parts.c.first).where(*conditions).order_by(order)).all():
        part = find_part(import_id, first)
        assert part is not None
        yield part


def store_created_ids(part: PlanPart, ids: Sequence[int]) -> None:
    """Keep the ids of the objects that the rows of a part have created."""
    statement = sa.update(parts).where(parts.c.import_id == part.import_id, parts.c.first == part.first)
    db.session.execute(statement.values(created_ids=list(ids)))


def find_part(import_id: int, first: int) -> PlanPart | None:
    """A part of a plan; None if a correction has deleted the plan since its parts were listed."""
    statement = sa.select(parts).where(parts.c.import_id == import_id, parts.c.first == first)
    part = db.session.execute(statement).one_or_none()
    if part is None:
        return None
    return PlanPart(import_id, first, part.sheet, part.resource, part.created_ids, part.rows)
