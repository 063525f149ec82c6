"""Restore from an audit record: a deletion with everything that it removed, or a single change."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.audit_logs.reattachment import ObjectKey, reattach
from app.audit_logs.restore_conflicts import (
    conflict_of,
    find_changed,
    find_invalid,
    find_missing_references,
    find_newer,
    find_taken,
    named,
)
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.models import Base
from app.core.db.unit_of_work import db, unit_of_work
from app.core.errors import Conflict, Invalid, NotFound
from app.core.messages import tr
from app.core.values import fold, utcnow
from app.gpus.service import resume_assignments
from app.resource import Kind, Resource, objects
from app.resource.bulk import writer
from app.resource.fields import Field, from_json, row_from_json
from app.resource.json_fields import limit_error, put_back_attributes

MAX_LISTED = 1000
"""Objects and conflicts that an answer lists; its counts are exact."""

logs = AuditLog.__table__


class NotRestorable(Conflict):
    reason = "not_restorable"
    message = tr("This record is neither a deletion nor a change, so there is nothing to restore.")


class RestoreConflict(Conflict):
    """Nothing was restored; `data.conflicts` says why, object by object."""

    reason, message = "restore_conflict", tr("Nothing was restored, because something has changed since.")

    def __init__(self, conflicts: Sequence[Mapping[str, Any]]) -> None:
        first, count = conflicts[0]["message"], len(conflicts)
        message = tr("Nothing was restored. {first}", first=first)
        if count > 1:
            message = tr("Nothing was restored. {first} This is one of {count} conflicts.", first=first, count=count)
        super().__init__(message, conflicts=list(conflicts[:MAX_LISTED]))


@dataclass(slots=True)
class Restoration:
    """The restored objects, and references: those that point to them again, and those that could not be restored."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    reattached: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        counts: dict[str, int] = defaultdict(int)
        for item in self.objects:
            counts[item["type"]] += 1
        return {
            "counts": counts,
            "objects": self.objects[:MAX_LISTED],
            "reattached": self.reattached[:MAX_LISTED],
            "left_out": self.left_out[:MAX_LISTED],
        }


def restore(record_id: int) -> Restoration:
    """Undo the deletion or the change in a record.

    Raises NotFound, NotRestorable, and RestoreConflict if the objects have changed since.
    """
    record = db.session.execute(sa.select(logs).where(logs.c.id == record_id)).one_or_none()
    if record is None:
        raise NotFound(tr("There is no audit log {record_id}.", record_id=record_id))
    resource = CATALOG.get(record.resource_type)
    if resource is None or record.version is None:
        raise NotRestorable()
    return _restore_deleted(record) if record.action == "delete" else _restore_values(resource, record)


def _restore_deleted(record: Any) -> Restoration:
    """Insert a deleted object and those deleted with it, under their ids and with their next versions."""
    restoration = Restoration()
    conflicts: list[dict[str, Any]] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    deleted = _select_deleted_with(record)
    for resource, records in _in_order(deleted):
        rows[resource.name] = [_row_of(resource, item) for item in records]
        conflicts += find_newer(resource, records)
        conflicts += find_missing_references(resource, rows[resource.name], deleted, restoration.left_out)
        conflicts += find_invalid(resource, rows[resource.name])
        conflicts += find_taken(resource, {row["id"]: row for row in rows[resource.name]})
    if conflicts:
        raise RestoreConflict(conflicts)
    try:
        for name, restored in rows.items():
            writer.restore(CATALOG[name].model, restored)
            restoration.objects += [named(CATALOG[name], row) for row in restored]
        for reference, is_reattached in reattach(record.request_id, deleted):
            (restoration.reattached if is_reattached else restoration.left_out).append(reference)
        resume_assignments([row["id"] for row in rows.get("gpus", ())])
    except IntegrityError as error:
        # Another transaction has committed since the checks above.
        message = tr("The same objects were changed at the same time; try again.")
        raise RestoreConflict([{"type": record.resource_type, "id": record.resource_id, "message": message}]) from error
    return restoration


def _select_deleted_with(root: Any) -> dict[ObjectKey, Any]:
    """The deletion and those that it cascaded to: of the same request, and below its object."""
    statement = sa.select(logs).where(
        # The first condition is the one that the index serves.
        sa.func.fold(logs.c.request_id) == fold(root.request_id),
        logs.c.request_id == root.request_id,
        logs.c.action == "delete",
        logs.c.resource_type.in_(CATALOG),
    )
    children: dict[ObjectKey, list[Any]] = defaultdict(list)
    for record in db.session.execute(statement.order_by(logs.c.id)):
        for parent in _parents(CATALOG[record.resource_type], record.snapshot):
            children[parent].append(record)
    deleted: dict[ObjectKey, Any] = {}
    pending = [root]
    while pending:
        record = pending.pop()
        key = record.resource_type, record.resource_id
        if key not in deleted:
            deleted[key] = record
            pending += children[key]
    return deleted


def _parents(resource: Resource, snapshot: Mapping[str, Any]) -> Iterator[ObjectKey]:
    """The parents of a deleted object: the references that a client writes, not those to its creator or holder."""
    for item in resource.fields.values():
        if item.target is not None and not item.read_only and snapshot.get(item.name) is not None:
            yield item.target.__tablename__, snapshot[item.name]


def _in_order(deleted: Mapping[ObjectKey, Any]) -> Iterator[tuple[Resource, list[Any]]]:
    """The records by resource, parents before children."""
    for table in Base.metadata.sorted_tables:
        records = [record for (name, _), record in deleted.items() if name == table.name]
        if records:
            yield CATALOG[table.name], sorted(records, key=lambda record: record.resource_id)


def _row_of(resource: Resource, record: Any) -> dict[str, Any]:
    values = row_from_json(resource.model, record.snapshot)
    # The deletion took a version of its own.
    return {**values, "version": record.version + 1, "updated_at": utcnow()}


def _restore_values(resource: Resource, record: Any) -> Restoration:
    """Set each field that a record changed to its old value."""
    previous = sa.select(logs.c.action).where(
        logs.c.resource_type == resource.name,
        logs.c.resource_id == record.resource_id,
        logs.c.version == record.version - 1,
    )
    if db.session.scalar(previous) in (None, "delete"):
        raise NotRestorable(tr("This record is the creation of the object; to undo that, delete it."))
    protected = [name for name in record.changes if name not in resource.fields or resource.fields[name].read_only]
    if protected:
        raise NotRestorable(tr("Only the application itself changes {fields}.", fields=", ".join(protected)))
    try:
        target = objects.get(resource, record.resource_id, to_change=True)
    except NotFound:
        name, message = record.resource_name, tr("The object was deleted: restore it first.")
        raise RestoreConflict([conflict_of(resource, record.resource_id, name, "gone", message)]) from None
    fields = {name: resource.fields[name] for name in record.changes}
    old = {name: _old_value(item, getattr(target, name), record.changes[name]) for name, item in fields.items()}
    row = {column.key: getattr(target, column.key) for column in target.__table__.columns} | old
    conflicts = [*find_changed(resource, target, record.changes)]
    conflicts += find_missing_references(resource, [row], {}, [])
    conflicts += find_taken(resource, {target.id: row})
    if conflicts:
        raise RestoreConflict(conflicts)
    unit_of_work().transaction.action = "restore"
    objects.update(resource, target, old)
    return Restoration([named(resource, {**row, "version": target.version})])


def _old_value(item: Field, stored: Any, change: Mapping[str, Any]) -> Any:
    """What the field was before a change; of attributes, only the keys that it changed."""
    if item.kind is Kind.ATTRIBUTES:
        attributes, _ = put_back_attributes(stored, change["old"], change["new"])
        if error := limit_error(attributes):
            raise Invalid(errors={item.name: [error]})
        return attributes
    return from_json(item.kind, item, change["old"])
