"""Revert an import: delete what it created, restore the values that it changed, or do nothing.

A restored object has its old values and a new version, because a version never means two things.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit import recorder
from app.core.audit.declaration import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, NotOwner
from app.core.http.access import current_actor
from app.core.messages import tr
from app.core.values import as_json, same_json, utcnow
from app.imports.apply.conflicts import MAX_CONFLICTS
from app.imports.models import Import, ImportPhase, ImportStatus, Progress, RowAction
from app.imports.plan.store import PlannedRow, PlanPart, read_parts
from app.resource import Kind, Resource, singular
from app.resource.bulk import writer
from app.resource.bulk.write_order import WriteOrder
from app.resource.cascade import count_referring, detach_unseen, text_of_counts
from app.resource.fields import defaults_of, from_json
from app.resource.json_fields import limit_error, put_back_attributes
from app.resource.service import may_change

logs = AuditLog.__table__

ObjectRow = dict[str, Any]
"""A stored object by column."""

UNUSED_ACTIONS = ("update", "revert", "transfer")
"""Audit actions on a new object after which it may be deleted if its values are still those of the import. Any other
action, such as an assignment, has used it."""


class NotRevertible(Conflict):
    reason, message = "not_revertible", tr("This import cannot be reverted.")


class ChangedSince(Conflict):
    reason = "out_of_date"
    message = tr("Some objects have been changed or used since the import: nothing was reverted.")


@dataclass
class Reversal:
    """The number of objects that a revert deletes and restores, by resource, and the rows that prevent it."""

    removed: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        return {"removed": self.removed, "restored": self.restored}

    def add_conflict(self, part: PlanPart, row: PlannedRow, object_id: int, message: str) -> None:
        if len(self.conflicts) < MAX_CONFLICTS:
            self.conflicts.append(
                {"sheet": part.sheet, "row": row.row, "resource": part.resource, "id": object_id, "message": message}
            )


def revert_import(import_: Import) -> None:
    """Revert an applied import and mark it as reverted, in the current transaction.

    Raises NotRevertible, naming the rows whose objects others have changed or used since, and Forbidden.
    """
    progress = Progress(import_.id, ImportPhase.REVERTING, import_.changed_rows, may_stop=False)
    reversal = Reversal()
    ids = {at: object_id for part in read_parts(import_.id, RowAction.CREATE) for at, object_id in _created(part)}
    # Updated objects come first: they may refer to objects that the import created.
    _restore_updated(import_, ids, reversal, progress)
    for part in read_parts(import_.id, RowAction.CREATE, backwards=True):
        _remove(part, import_, ids, reversal)
        progress.advance(sum(1 for _ in part.rows_with(RowAction.CREATE)))
    if reversal.conflicts:
        raise ChangedSince(conflicts=reversal.conflicts)
    changes = {name: {"old": None, "new": sum(counts.values())} for name, counts in reversal.counts().items()}
    recorder.record("revert", "imports", import_.id, import_.filename, changes)
    import_.reversal = reversal.counts()
    import_.status, import_.phase, import_.done = ImportStatus.REVERTED, ImportPhase.DONE, import_.total
    import_.finished_at = utcnow()


def _created(part: PlanPart) -> Iterator[tuple[int, int]]:
    """The position of each row that created an object, and the id of the object."""
    created = part.created_ids or []
    return zip((position for position, _ in part.rows_with(RowAction.CREATE)), created, strict=True)


def _restore_updated(import_: Import, ids: dict[int, int], reversal: Reversal, progress: Progress) -> None:
    takers = _takers(import_)
    late: list[tuple[Resource, writer.Change]] = []
    for part in read_parts(import_.id, RowAction.UPDATE, backwards=True):
        resource, changes = CATALOG[part.resource], _restorations(part, ids, reversal)
        late += [(resource, change) for change in changes if change.object_id in takers[part.resource]]
        _restore(resource, [change for change in changes if change.object_id not in takers[part.resource]], reversal)
        progress.advance(sum(1 for _ in part.rows_with(RowAction.UPDATE)))
    for resource, of_resource in groupby(late, key=itemgetter(0)):
        _restore(resource, [change for _, change in of_resource], reversal)


def _takers(import_: Import) -> dict[str, Collection[int]]:
    """By resource, the objects whose old unique values others have, which must be written first to give them back."""
    orders: dict[str, WriteOrder] = {}
    for part in read_parts(import_.id, RowAction.UPDATE):
        resource = CATALOG[part.resource]
        order = orders.setdefault(part.resource, WriteOrder(resource.model))
        planned = [row for _, row in part.rows_with(RowAction.UPDATE) if order.concerns(row.new)]
        order.add({row.object_id: _old_values(resource, row) for row in planned if row.object_id is not None})
    return {name: order.takers() for name, order in orders.items()}


def _old_values(resource: Resource, row: PlannedRow, current: ObjectRow | None = None) -> dict[str, Any]:
    """The values before the import; of the attributes of a current object, others' keys stay."""
    assert row.old is not None
    old = {name: from_json(resource.fields[name].kind, resource.fields[name], row.old[name]) for name in row.new}
    for name in old:
        if current is not None and resource.fields[name].kind is Kind.ATTRIBUTES:
            old[name], _ = put_back_attributes(current[name], row.old[name], row.new[name])
    return old


def _restore(resource: Resource, changes: Sequence[writer.Change], reversal: Reversal) -> None:
    writer.update(resource.model, changes, action="revert")
    reversal.restored[resource.name] = reversal.restored.get(resource.name, 0) + len(changes)


def _restorations(part: PlanPart, ids: dict[int, int], reversal: Reversal) -> list[writer.Change]:
    """The changes that bring back the old values of a part's objects; adds the conflicts of the others."""
    resource = CATALOG[part.resource]
    planned = {row.object_id: row for _, row in part.rows_with(RowAction.UPDATE) if row.object_id is not None}
    stored = _locked(resource, list(planned))
    changes = []
    for object_id, row in planned.items():
        current = stored.get(object_id)
        if current is None:
            reversal.add_conflict(
                part, row, object_id, tr("The {what} has been deleted since the import.", what=singular(resource))
            )
            continue
        _require_right(resource, current)
        old = _old_values(resource, row, current)
        if all(same_json(as_json(current[name]), as_json(value)) for name, value in old.items()):
            continue
        changed = [title for name in row.new for title in _changed_since(resource, name, current[name], row, ids)]
        if changed:
            reversal.add_conflict(
                part, row, object_id, tr("Changed since the import: {fields}.", fields=", ".join(changed))
            )
            continue
        if error := _limit_error(resource, old):
            reversal.add_conflict(part, row, object_id, error)
            continue
        replaced = {name: current[name] for name in old}
        label = str(current[resource.model.label])
        changes.append(writer.Change(object_id, current["version"], label, old=replaced, new=old))
    return changes


def _changed_since(resource: Resource, name: str, stored: Any, row: PlannedRow, ids: dict[int, int]) -> list[str]:
    """What others have changed since the import: the title of the field, or the attributes in question."""
    assert row.old is not None
    if resource.fields[name].kind is Kind.ATTRIBUTES:
        return put_back_attributes(stored, row.old[name], row.new[name])[1]
    is_same = same_json(as_json(stored), _stored_value(row.new[name], resource, name, ids))
    return [] if is_same else [resource.fields[name].title]


def _limit_error(resource: Resource, values: Mapping[str, Any]) -> str | None:
    """What is wrong with attributes that come back beside those that others have added."""
    attributes = [values[name] for name in values if resource.fields[name].kind is Kind.ATTRIBUTES]
    return next(filter(None, map(limit_error, attributes)), None)


def _remove(part: PlanPart, import_: Import, ids: dict[int, int], reversal: Reversal) -> None:
    resource = CATALOG[part.resource]
    created = dict(zip(part.created_ids or [], (row for _, row in part.rows_with(RowAction.CREATE)), strict=True))
    stored = _locked(resource, list(created))
    used = _used(resource, [object_id for object_id, current in stored.items() if current["version"] > 1])
    children = count_referring(resource.model, list(stored))
    removed = []
    for object_id, current in stored.items():
        row = created[object_id]
        _require_right(resource, current)
        if object_id in used or (current["version"] > 1 and _differs(resource, current, row, import_, ids)):
            message = tr("The {what} has been changed or used since the import.", what=singular(resource))
            reversal.add_conflict(part, row, object_id, message)
        elif object_id in children:
            message = tr("Other objects refer to it: {counts}.", counts=text_of_counts(children[object_id]))
            reversal.add_conflict(part, row, object_id, message)
        else:
            removed.append(current)
    detach_unseen(resource.model, [current["id"] for current in removed])
    # Objects with conflicts stay until all conflicts are listed; then the whole revert is refused and rolled back.
    writer.delete(resource.model, removed)
    reversal.removed[resource.name] = reversal.removed.get(resource.name, 0) + len(removed)


def _locked(resource: Resource, ids: Sequence[int]) -> dict[int, ObjectRow]:
    """The stored objects by id, locked in the order of their ids."""
    table = resource.model.__table__
    statement = sa.select(table).where(any_of(table.c.id, ids)).order_by(table.c.id).with_for_update()
    names = [column.key for column in table.columns]
    rows = (dict(zip(names, values, strict=True)) for values in db.session.execute(statement))
    return {row["id"]: row for row in rows}


def _require_right(resource: Resource, current: ObjectRow) -> None:
    if not may_change(resource, current_actor(), current["created_by_id"]):
        raise NotOwner()


def _stored_value(value: Any, resource: Resource, name: str, ids: dict[int, int]) -> Any:
    """A planned value as the JSON of the stored object has it: a reference is the id of its object."""
    if value is None or resource.fields[name].kind is not Kind.REFERENCE:
        return value
    return ids[value["row"]] if "row" in value else value["id"]


def _differs(resource: Resource, current: ObjectRow, row: PlannedRow, import_: Import, ids: dict[int, int]) -> bool:
    """Whether a created object has other values than the import gave it."""
    imported = {name: as_json(value) for name, value in defaults_of(resource.model).items()}
    imported |= {name: _stored_value(value, resource, name, ids) for name, value in row.new.items()}
    imported["created_by_id"] = import_.created_by_id
    return not all(same_json(as_json(current[name]), imported[name]) for name in audited_columns(resource.model))


def _used(resource: Resource, ids: Sequence[int]) -> set[int]:
    """Objects with audit records of other actions than UNUSED_ACTIONS since they were created."""
    if not ids:
        return set()
    statement = sa.select(logs.c.resource_id).where(
        logs.c.resource_type == resource.model.__tablename__,
        any_of(logs.c.resource_id, ids),
        logs.c.version > 1,
        logs.c.action.not_in(UNUSED_ACTIONS),
    )
    return set(db.session.scalars(statement))
