"""An import undone: what it created is removed, what it changed is as it was, or nothing happens.

An object is as it was when its values are; its version goes on, because a version never means two things.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit import recorder
from app.core.audit.changes import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Forbidden
from app.core.http.access import current_actor
from app.core.values import as_json
from app.imports.apply.conflicts import MAX_CONFLICTS
from app.imports.models import Action, Import
from app.imports.plan.store import Part, PlannedRow, read_parts
from app.imports.plan.uniqueness import defaults_of
from app.resource import Resource
from app.resource.bulk import writer
from app.resource.cascade import detach_unseen, standing_in_the_way
from app.resource.fields import Kind, from_json
from app.resource.service import may_change, singular

logs = AuditLog.__table__

Row = dict[str, Any]

HARMLESS = ("update", "revert")
"""What may have happened to a new object that looks as it did; whoever has assigned one has used it."""


class NotRevertible(Conflict):
    reason, message = "not_revertible", "This import cannot be undone."


@dataclass
class Reversal:
    """What undoing an import does, by resource, and what stands in the way."""

    removed: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        return {"removed": self.removed, "restored": self.restored}

    def conflict(self, part: Part, row: PlannedRow, object_id: int, message: str) -> None:
        if len(self.conflicts) < MAX_CONFLICTS:
            self.conflicts.append(
                {"sheet": part.sheet, "row": row.row, "resource": part.resource, "id": object_id, "message": message}
            )


def revert(job: Import, advance: Callable[[int], None] = lambda _: None) -> Reversal:
    """Undo an applied import, telling `advance` of each few rows that are done; the caller commits.

    Raises NotRevertible, naming the rows whose objects somebody has changed or used since, and Forbidden.
    """
    reversal = Reversal()
    ids = {key: identity for part in read_parts(job.id, Action.CREATE) for key, identity in _created(part)}
    # Before anything goes, nothing that the import changed may refer to it any more.
    for part in read_parts(job.id, Action.UPDATE, backwards=True):
        _restore(part, ids, reversal)
        advance(sum(1 for _ in part.doing(Action.UPDATE)))
    for part in read_parts(job.id, Action.CREATE, backwards=True):
        _remove(part, job, ids, reversal)
        advance(sum(1 for _ in part.doing(Action.CREATE)))
    if reversal.conflicts:
        raise NotRevertible(
            "Some objects have been changed or used since the import.",
            reason="out_of_date",
            conflicts=reversal.conflicts,
        )
    changes = {name: {"old": None, "new": sum(counts.values())} for name, counts in reversal.counts().items()}
    recorder.record("revert", "imports", job.id, job.filename, changes)
    return reversal


def _created(part: Part) -> Iterator[tuple[int, int]]:
    """The position of each row that created an object, and the object's id."""
    created = part.created_ids or []
    return zip((position for position, _ in part.doing(Action.CREATE)), created, strict=True)


def _restore(part: Part, ids: dict[int, int], reversal: Reversal) -> None:
    resource = CATALOG[part.resource]
    planned = {row.object_id: row for _, row in part.doing(Action.UPDATE) if row.object_id is not None}
    now = _locked(resource, list(planned))
    changes = []
    for identity, row in planned.items():
        current = now.get(identity)
        if current is None:
            reversal.conflict(part, row, identity, f"The {singular(resource)} is gone.")
            continue
        _require_right(resource, current)
        assert row.old is not None
        current_values = {name: as_json(current[name]) for name in row.new}
        if current_values == row.old:
            continue
        changed = [
            resource.fields[name].title
            for name, value in row.new.items()
            if current_values[name] != _stored(value, resource, name, ids)
        ]
        if changed:
            reversal.conflict(part, row, identity, f"Somebody has changed {', '.join(changed)} since the import.")
            continue
        old = {name: from_json(resource.fields[name].kind, resource.fields[name], row.old[name]) for name in row.new}
        was = {name: current[name] for name in old}
        changes.append(writer.Change(identity, current["version"], str(current[resource.model.label]), was, old))
    writer.update(resource.model, changes, action="revert")
    reversal.restored[resource.name] = reversal.restored.get(resource.name, 0) + len(changes)


def _remove(part: Part, job: Import, ids: dict[int, int], reversal: Reversal) -> None:
    resource = CATALOG[part.resource]
    created = dict(zip(part.created_ids or [], (row for _, row in part.doing(Action.CREATE)), strict=True))
    now = _locked(resource, list(created))
    used = _used(resource, [identity for identity, current in now.items() if current["version"] > 1])
    children = standing_in_the_way(resource.model, list(now))
    going = []
    for identity, current in now.items():
        row = created[identity]
        _require_right(resource, current)
        if identity in used or (current["version"] > 1 and _differs(resource, current, row, job, ids)):
            reversal.conflict(part, row, identity, f"Somebody has changed the {singular(resource)} since the import.")
        elif identity in children:
            counts = " and ".join(f"{count} {name.replace('_', ' ')}" for name, count in children[identity].items())
            reversal.conflict(part, row, identity, f"Since the import {counts} refer to it.")
        else:
            going.append(current)
    detach_unseen(resource.model, [row["id"] for row in going])
    # What has conflicts stays until all are named; then everything does.
    writer.delete(resource.model, going)
    reversal.removed[resource.name] = reversal.removed.get(resource.name, 0) + len(going)


def _locked(resource: Resource, ids: Sequence[int]) -> dict[int, Row]:
    """The objects as they are now, by id, locked in the order of their ids."""
    table = resource.model.__table__
    statement = sa.select(table).where(any_of(table.c.id, ids)).order_by(table.c.id).with_for_update()
    names = [column.key for column in table.columns]
    at = names.index("id")
    return {values[at]: dict(zip(names, values, strict=True)) for values in db.session.execute(statement)}


def _require_right(resource: Resource, current: Row) -> None:
    if not may_change(resource, current_actor(), current["created_by_id"]):
        raise Forbidden("Only its creator and administrators may change this object.", reason="not_owner")


def _stored(value: Any, resource: Resource, name: str, ids: dict[int, int]) -> Any:
    """A planned value as JSON shows it once it is stored: a reference is the id of its object."""
    if value is None or resource.fields[name].kind is not Kind.REFERENCE:
        return value
    return ids[value["row"]] if "row" in value else value["id"]


def _differs(resource: Resource, current: Row, row: PlannedRow, job: Import, ids: dict[int, int]) -> bool:
    """Whether a new object is not any more what the import made of it."""
    given = {name: as_json(value) for name, value in defaults_of(resource.model).items()}
    given |= {name: _stored(value, resource, name, ids) for name, value in row.new.items()}
    given["created_by_id"] = job.created_by_id
    return any(as_json(current[name]) != given[name] for name in audited_columns(resource.model))


def _used(resource: Resource, ids: Sequence[int]) -> set[int]:
    """Those of which the log has more than changes since they were created."""
    if not ids:
        return set()
    statement = sa.select(logs.c.resource_id).where(
        logs.c.resource_type == resource.model.__tablename__,
        any_of(logs.c.resource_id, ids),
        logs.c.version > 1,
        logs.c.action.not_in(HARMLESS),
    )
    return set(db.session.scalars(statement))
