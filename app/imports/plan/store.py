"""The plan as it is stored: exactly what is shown, and exactly what is applied."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from app.core.db.statements import ROWS_AT_ONCE
from app.core.db.unit_of_work import db
from app.core.values import json_text
from app.imports.map.tables import Table
from app.imports.models import Action, ImportPart
from app.imports.parse.rows import Draft
from app.imports.plan.merge_rows import Planned
from app.imports.plan.planner import changes_of
from app.resource.fields import Kind

parts = ImportPart.__table__


class PlannedRow(NamedTuple):
    """What the plan does with one row of the file.

    `new` and `old` hold the values of the fields that change as JSON has them. A reference in `new` is
    {"id", "name"}, or {"row": <position>, "name"} where an earlier row of the file creates the object.
    """

    row: int
    action: str
    object_id: int | None
    version: int | None
    name: str | None
    new: dict[str, Any]
    old: dict[str, Any] | None
    errors: Sequence[dict[str, Any]]
    warnings: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """Successive rows of a sheet: the first one's position among all rows of the import, and what they do."""

    import_id: int
    first: int
    sheet: str
    resource: str
    created_ids: list[int] | None
    _counts: Mapping[Action, int]
    _stored: str = field(repr=False)

    @cached_property
    def rows(self) -> list[PlannedRow]:
        """What each row does; read when first asked for, by whatever thread does."""
        return [PlannedRow(*row) for row in orjson.loads(self._stored)]

    def count(self, action: Action) -> int:
        """How many of its rows do this."""
        return self._counts[action]

    def doing(self, action: Action) -> Iterator[tuple[int, PlannedRow]]:
        """Its rows of one action, each with its position."""
        return ((position, row) for position, row in enumerate(self.rows, self.first) if row.action == action.value)


def store(import_id: int, planned: Sequence[Planned]) -> None:
    """Write the plan, numbered so that what is referred to comes before what refers to it."""
    for position, draft in enumerate(chain.from_iterable(drafts for _, drafts in planned), 1):
        draft.position = position
    for table, drafts in planned:
        for start in range(0, len(drafts), ROWS_AT_ONCE):
            _store_part(import_id, table, drafts[start : start + ROWS_AT_ONCE])


def read_parts(
    import_id: int,
    *actions: Action,
    resource: str | None = None,
    sheet: str | None = None,
    backwards: bool = False,
) -> Iterator[Part]:
    """The parts that have rows of any of these actions, in their order, one at a time.

    Each refers only to those before it; `backwards`, each is referred to only by those before it.
    """
    wanted = [parts.c.import_id == import_id, sa.or_(*(parts.c[action.value] > 0 for action in actions))]
    if resource is not None:
        wanted.append(parts.c.resource == resource)
    if sheet is not None:
        wanted.append(parts.c.sheet == sheet[:255])
    order = parts.c.first.desc() if backwards else parts.c.first
    for first in db.session.scalars(sa.select(parts.c.first).where(*wanted).order_by(order)).all():
        yield _read(import_id, first)


def count_rows(import_id: int, resource: str, action: Action) -> int:
    """How many rows of a resource do this."""
    counted = sa.select(sa.func.coalesce(sa.func.sum(parts.c[action.value]), 0))
    of_it = parts.c.import_id == import_id, parts.c.resource == resource
    return int(db.session.scalar(counted.where(*of_it)) or 0)


def select_page(
    import_id: int, action: Action | None, sheet: str | None, page: int, page_size: int
) -> tuple[list[dict[str, Any]], int]:
    """A page of the plan's rows as the API shows them, and how many there are in all."""
    count = parts.c[action.value] if action else sum(parts.c[one.value] for one in Action)
    statement = sa.select(parts.c.first, count.label("count")).where(parts.c.import_id == import_id)
    if sheet is not None:
        statement = statement.where(parts.c.sheet == sheet)
    begin, end = (page - 1) * page_size, page * page_size
    shown: list[dict[str, Any]] = []
    passed = 0
    for first, held in db.session.execute(statement.order_by(parts.c.first)).all():
        if held and passed < end and passed + held > begin:
            rows = list(_shown(_read(import_id, first), action))
            shown += rows[max(begin - passed, 0) : end - passed]
        passed += held
    return shown, passed


def note_created(part: Part, ids: Sequence[int]) -> None:
    """Keep with the rows which objects they have become."""
    statement = sa.update(parts).where(parts.c.import_id == part.import_id, parts.c.first == part.first)
    db.session.execute(statement.values(created_ids=list(ids)))


def _store_part(import_id: int, table: Table, drafts: Sequence[Draft]) -> None:
    references = [name for name, item in table.resource.fields.items() if item.kind is Kind.REFERENCE]
    counts = Counter(draft.action for draft in drafts)
    values = {
        "import_id": import_id,
        "first": drafts[0].position,
        "sheet": table.sheet.name[:255],
        "resource": table.resource.name,
        "rows": json_text([_planned(draft, references) for draft in drafts]),
        **{action.value: counts[action] for action in Action},
    }
    db.session.execute(sa.insert(parts).inline(), values)


def _planned(draft: Draft, references: Sequence[str]) -> tuple[Any, ...]:
    """The values of a PlannedRow."""
    existing = draft.existing
    new = {} if draft.action is Action.UNCHANGED else dict(changes_of(draft))
    for name in references:
        value = new.get(name)
        if value is not None:
            new[name] = _referred(value, draft.names.get(name))
    label = draft.values.get(draft.table.resource.model.label)
    return (
        draft.row,
        draft.action.value,
        None if existing is None else existing["id"],
        None if existing is None else existing["version"],
        None if label is None else str(label)[:255],
        new,
        dict(draft.old) if draft.old and draft.action is not Action.ERROR else None,
        draft.errors,
        draft.warnings,
    )


def _referred(value: Any, name: str | None) -> dict[str, Any]:
    if isinstance(value, Draft):
        return {"row": value.position, "name": name}
    return {"id": value, "name": name} if isinstance(value, int) else {"name": name}


def _read(import_id: int, first: int) -> Part:
    found = db.session.execute(sa.select(parts).where(parts.c.import_id == import_id, parts.c.first == first)).one()
    counts = {action: getattr(found, action.value) for action in Action}
    return Part(import_id, first, found.sheet, found.resource, found.created_ids, counts, found.rows)


def _shown(part: Part, action: Action | None) -> Iterator[dict[str, Any]]:
    created = iter(part.created_ids or ())
    for row in part.rows:
        identity = next(created, None) if row.action == Action.CREATE.value else row.object_id
        if action is not None and row.action != action.value:
            continue
        old = row.old or {}
        yield {
            "sheet": part.sheet,
            "row": row.row,
            "resource": part.resource,
            "action": row.action,
            "id": identity,
            "changes": {name: {"old": old.get(name), "new": value} for name, value in row.new.items()},
            "errors": row.errors,
            "warnings": row.warnings,
        }
