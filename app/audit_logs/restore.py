"""Restore from an audit record: a deletion with everything that it removed, or a single change."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.audit_logs.reattachment import Key, reattach
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.models import Base
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db, unit_of_work
from app.core.errors import Conflict, NotFound
from app.core.messages import Term, tr
from app.core.values import as_json, fold, same_json, utcnow
from app.gpus.service import resume_assignments
from app.resource import Kind, Resource, service
from app.resource.bulk import writer
from app.resource.fields import Field, default_of, from_json, row_from_json
from app.resource.json_fields import put_back_attributes
from app.resource.uniqueness import index_rules, key_of, taken_keys

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
        conflicts += _find_newer(resource, records)
        conflicts += _find_missing_references(resource, rows[resource.name], deleted, restoration)
        conflicts += _find_invalid(resource, rows[resource.name])
        conflicts += _find_taken(resource, {row["id"]: row for row in rows[resource.name]})
    if conflicts:
        raise RestoreConflict(conflicts)
    try:
        for name, restored in rows.items():
            writer.restore(CATALOG[name].model, restored)
            restoration.objects += [_named(CATALOG[name], row) for row in restored]
        for reference, is_reattached in reattach(record.request_id, deleted):
            (restoration.reattached if is_reattached else restoration.left_out).append(reference)
        resume_assignments([row["id"] for row in rows.get("gpus", ())])
    except IntegrityError as error:
        # Another transaction has committed since the checks above.
        message = tr("The same objects were changed at the same time; try again.")
        raise RestoreConflict([{"type": record.resource_type, "id": record.resource_id, "message": message}]) from error
    return restoration


def _select_deleted_with(root: Any) -> dict[Key, Any]:
    """The deletion and those that it cascaded to: of the same request, and below its object."""
    statement = sa.select(logs).where(
        # The first condition is the one that the index serves.
        sa.func.fold(logs.c.request_id) == fold(root.request_id),
        logs.c.request_id == root.request_id,
        logs.c.action == "delete",
        logs.c.resource_type.in_(CATALOG),
    )
    children: dict[Key, list[Any]] = defaultdict(list)
    for record in db.session.execute(statement.order_by(logs.c.id)):
        for parent in _parents(CATALOG[record.resource_type], record.snapshot):
            children[parent].append(record)
    deleted: dict[Key, Any] = {}
    pending = [root]
    while pending:
        record = pending.pop()
        key = record.resource_type, record.resource_id
        if key not in deleted:
            deleted[key] = record
            pending += children[key]
    return deleted


def _parents(resource: Resource, snapshot: Mapping[str, Any]) -> Iterator[Key]:
    """The parents of a deleted object: the references that a client writes, not those to its creator or holder."""
    for item in resource.fields.values():
        if item.target is not None and not item.read_only and snapshot.get(item.name) is not None:
            yield item.target.__tablename__, snapshot[item.name]


def _in_order(deleted: Mapping[Key, Any]) -> Iterator[tuple[Resource, list[Any]]]:
    """The records by resource, parents before children."""
    for table in Base.metadata.sorted_tables:
        records = [record for (name, _), record in deleted.items() if name == table.name]
        if records:
            yield CATALOG[table.name], sorted(records, key=lambda record: record.resource_id)


def _row_of(resource: Resource, record: Any) -> dict[str, Any]:
    values = row_from_json(resource.model, record.snapshot)
    # The deletion took a version of its own.
    return {**values, "version": record.version + 1, "updated_at": utcnow()}


def _find_newer(resource: Resource, records: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Conflicts of objects that have newer records than these."""
    statement = (
        sa.select(logs.c.resource_id, sa.func.max(logs.c.version))
        .where(
            logs.c.resource_type == resource.name,
            any_of(logs.c.resource_id, [record.resource_id for record in records]),
        )
        .group_by(logs.c.resource_id)
    )
    latest = dict(db.session.execute(statement).all())
    for record in records:
        if (newest := latest[record.resource_id]) > record.version:
            message = tr("It has been restored already; its latest version is {latest}.", latest=newest)
            yield _conflict(resource, record.resource_id, record.resource_name, "newer", message)


def _find_missing_references(
    resource: Resource, rows: Sequence[dict[str, Any]], deleted: Mapping[Key, Any], restoration: Restoration
) -> Iterator[dict[str, Any]]:
    """Conflicts of references to objects that neither exist nor are restored now.

    A reference that only the application sets is left out instead.
    """
    for item in resource.references.values():
        for row, identity in _dangling(item, rows, deleted):
            assert item.target is not None
            if item.read_only and item.nullable:
                row[item.name] = None
                restoration.left_out.append({**_named(resource, row), "field": item.name, "value": identity})
            else:
                reference = f"{item.title.lower()}, {item.target.__tablename__} {identity}"
                message = tr("Its {reference}, does not exist: restore that first.", reference=reference)
                yield _conflict(resource, row["id"], str(row[resource.model.label]), "gone", message, field=item.name)


def _dangling(
    item: Field, rows: Sequence[dict[str, Any]], deleted: Mapping[Key, Any]
) -> Iterator[tuple[dict[str, Any], int]]:
    assert item.target is not None
    table = item.target.__table__
    ids = {row[item.name] for row in rows if row[item.name] is not None}
    ids = {identity for identity in ids if (table.name, identity) not in deleted}
    existing = set(db.session.scalars(sa.select(table.c.id).where(any_of(table.c.id, ids)))) if ids else set()
    for row in rows:
        if row[item.name] in ids - existing:
            yield row, row[item.name]


def _find_invalid(resource: Resource, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Conflicts of rows that are invalid without a left out reference, unless a default makes them valid."""
    for row in rows:
        for name in resource.model.validate(row):
            row[name] = default_of(resource.model.__table__.c[name])
        for name, texts in resource.model.validate(row).items():
            yield _conflict(resource, row["id"], str(row[resource.model.label]), "invalid", texts[0], field=name)


def _find_taken(resource: Resource, rows: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Conflicts of rows whose unique value belongs to another object now."""
    for names, folded in index_rules(resource.model):
        keys = {identity: key_of([row[name] for name in names], names, folded) for identity, row in rows.items()}
        id_of = {key: identity for identity, key in keys.items() if key is not None}
        for key, other in taken_keys(resource, id_of, names, folded).items():
            identity = id_of[key]
            if other == identity:
                continue
            what, title = service.singular(resource), resource.fields[names[-1]].term
            message = tr("Another {what} ({other}) has the same {title} now.", what=what, other=other, title=title)
            name = str(rows[identity][resource.model.label])
            yield {**_conflict(resource, identity, name, "taken", message, field=names[-1]), "by": other}


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
        target = service.get(resource, record.resource_id, to_change=True)
    except NotFound:
        name, message = record.resource_name, tr("The object was deleted: restore it first.")
        raise RestoreConflict([_conflict(resource, record.resource_id, name, "gone", message)]) from None
    fields = {name: resource.fields[name] for name in record.changes}
    old = {name: _old_value(item, getattr(target, name), record.changes[name]) for name, item in fields.items()}
    row = {column.key: getattr(target, column.key) for column in target.__table__.columns} | old
    conflicts = [*_find_changed(resource, target, record.changes)]
    conflicts += _find_missing_references(resource, [row], {}, Restoration())
    conflicts += _find_taken(resource, {target.id: row})
    if conflicts:
        raise RestoreConflict(conflicts)
    unit_of_work().transaction.action = "restore"
    service.update(resource, target, old)
    return Restoration([_named(resource, {**row, "version": target.version})])


def _old_value(item: Field, stored: Any, change: Mapping[str, Any]) -> Any:
    """What the field was before a change; of attributes, only the keys that it changed."""
    if item.kind is Kind.ATTRIBUTES:
        return put_back_attributes(stored, change["old"], change["new"])[0]
    return from_json(item.kind, item, change["old"])


def _find_changed(resource: Resource, target: Any, changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, what, value, then in _values_since(resource, target, changes):
        if not same_json(value, then):
            conflict = _conflict(
                resource, target.id, str(target), "changed", tr("Its {what} has changed since.", what=what), field=name
            )
            yield {**conflict, "now": value, "then": then}


def _values_since(resource: Resource, target: Any, changes: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Field, title, value now and value then of all that a change set; attributes are fields of their own."""
    for name, change in changes.items():
        item, value = resource.fields[name], getattr(target, name)
        if item.kind is Kind.ATTRIBUTES:
            for key in put_back_attributes(value, change["old"], change["new"])[1]:
                what, then = Term(f"attribute {key}", f"属性 {key}"), (change["new"] or {}).get(key)
                yield f"{name}.{key}", what, value.get(key), then
        else:
            yield name, item.term, as_json(value), change["new"]


def _conflict(
    resource: Resource, identity: int, name: str | None, problem: str, message: str, **facts: Any
) -> dict[str, Any]:
    return {"type": resource.name, "id": identity, "name": name, "problem": problem, "message": message, **facts}


def _named(resource: Resource, row: Mapping[str, Any]) -> dict[str, Any]:
    label = resource.model.label
    return {"type": resource.name, "id": row["id"], "name": str(row[label]), "version": row["version"]}
