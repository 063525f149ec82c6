"""Undoing what a record tells: a deletion with all that it took along, or a single change."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.models import Base, unique_fields
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db, unit_of_work
from app.core.errors import Conflict, NotFound
from app.core.values import as_json, fold, utcnow
from app.resource import Resource, service
from app.resource.bulk import writer
from app.resource.fields import Field, default_of, from_json, row_from_json
from app.resource.uniqueness import key_of, taken_keys

MAX_LISTED = 1000
"""Objects and conflicts that an answer names; the counts are exact."""

logs = AuditLog.__table__

Key = tuple[str, int]
"""The type and the id of an object."""


class NotRestorable(Conflict):
    reason, message = "not_restorable", "This record tells of nothing that could be undone."


class RestoreConflict(Conflict):
    """Something stands in the way; `data.conflicts` says what, object by object. Nothing was restored."""

    reason = "restore_conflict"

    def __init__(self, conflicts: Sequence[Mapping[str, Any]]) -> None:
        first = conflicts[0]["message"]
        more = f" That is one of {len(conflicts)} conflicts." if len(conflicts) > 1 else ""
        super().__init__(f"Nothing was restored. {first}{more}", conflicts=list(conflicts[:MAX_LISTED]))


@dataclass(slots=True)
class Restoration:
    """What was brought back or put back, and the references that were left out because their objects are gone."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        counts: dict[str, int] = defaultdict(int)
        for item in self.objects:
            counts[item["type"]] += 1
        return {"counts": counts, "objects": self.objects[:MAX_LISTED], "left_out": self.left_out[:MAX_LISTED]}


def restore(record_id: int) -> Restoration:
    """Undo the deletion or the change that a record tells of.

    Raises NotFound, NotRestorable, and RestoreConflict where something has changed since.
    """
    record = db.session.execute(sa.select(logs).where(logs.c.id == record_id)).one_or_none()
    if record is None:
        raise NotFound(f"There is no audit log {record_id}.")
    resource = CATALOG.get(record.resource_type)
    if resource is None or record.version is None:
        raise NotRestorable()
    return _bring_back(record) if record.action == "delete" else _put_back(resource, record)


def _bring_back(record: Any) -> Restoration:
    """Store a deleted object again, under its id and with its next version, and what went with it."""
    restoration = Restoration()
    conflicts: list[dict[str, Any]] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    found = _taken_along(record)
    for resource, records in _in_order(found):
        rows[resource.name] = [_row(resource, deleted) for deleted in records]
        conflicts += _newer(resource, records)
        conflicts += _gone(resource, rows[resource.name], found, restoration)
        conflicts += _unsound(resource, rows[resource.name])
        conflicts += _taken(resource, {row["id"]: row for row in rows[resource.name]})
    if conflicts:
        raise RestoreConflict(conflicts)
    try:
        for name, restored in rows.items():
            writer.restore(CATALOG[name].model, restored)
            restoration.objects += [_named(CATALOG[name], row) for row in restored]
    except IntegrityError as error:
        # What was looked up above has changed since.
        message = "Somebody changed the same objects at this moment; try again."
        raise RestoreConflict([{"type": record.resource_type, "id": record.resource_id, "message": message}]) from error
    return restoration


def _taken_along(root: Any) -> dict[Key, Any]:
    """The deletion and those that it took along: of the same request, and of what was under its object."""
    of_request = sa.select(logs).where(
        # The first is what the index has.
        sa.func.lower(logs.c.request_id) == fold(root.request_id),
        logs.c.request_id == root.request_id,
        logs.c.action == "delete",
        logs.c.resource_type.in_(CATALOG),
    )
    under: dict[Key, list[Any]] = defaultdict(list)
    for record in db.session.execute(of_request.order_by(logs.c.id)):
        for parent in _parents(CATALOG[record.resource_type], record.snapshot):
            under[parent].append(record)
    found: dict[Key, Any] = {}
    new = [root]
    while new:
        record = new.pop()
        key = record.resource_type, record.resource_id
        if key not in found:
            found[key] = record
            new += under[key]
    return found


def _parents(resource: Resource, snapshot: Mapping[str, Any]) -> Iterator[Key]:
    """What an object was under: what a client writes as its parent. Who created or holds it is no parent."""
    for item in resource.fields.values():
        if item.target is not None and not item.read_only and snapshot.get(item.name) is not None:
            yield item.target.__tablename__, snapshot[item.name]


def _in_order(found: Mapping[Key, Any]) -> Iterator[tuple[Resource, list[Any]]]:
    """The records by resource, those that are referred to before those that refer."""
    for table in Base.metadata.sorted_tables:
        records = [record for (name, _), record in found.items() if name == table.name]
        if records:
            yield CATALOG[table.name], sorted(records, key=lambda record: record.resource_id)


def _row(resource: Resource, record: Any) -> dict[str, Any]:
    values = row_from_json(resource.model, record.snapshot)
    # The deletion was a version too.
    return {**values, "version": record.version + 1, "updated_at": utcnow()}


def _newer(resource: Resource, records: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The objects whose history goes on after the record."""
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
        if latest[record.resource_id] > record.version:
            message = f"It was restored already: version {latest[record.resource_id]} is its latest."
            yield _conflict(resource, record.resource_id, record.resource_name, "newer", message)


def _gone(
    resource: Resource, rows: Sequence[dict[str, Any]], found: Mapping[Key, Any], restoration: Restoration
) -> Iterator[dict[str, Any]]:
    """The rows whose parents are neither there nor restored; what only the application refers to is left out."""
    for item in resource.references.values():
        for row, identity in _dangling(item, rows, found):
            assert item.target is not None
            if item.read_only and item.nullable:
                row[item.name] = None
                restoration.left_out.append({**_named(resource, row), "field": item.name, "value": identity})
            else:
                message = (
                    f"Its {item.title.lower()}, {item.target.__tablename__} {identity}, is gone: restore that first."
                )
                yield _conflict(resource, row["id"], str(row[resource.model.label]), "gone", message, field=item.name)


def _dangling(
    item: Field, rows: Sequence[dict[str, Any]], found: Mapping[Key, Any]
) -> Iterator[tuple[dict[str, Any], int]]:
    assert item.target is not None
    table = item.target.__table__
    wanted = {row[item.name] for row in rows if row[item.name] is not None}
    outside = {identity for identity in wanted if (table.name, identity) not in found}
    there = set(db.session.scalars(sa.select(table.c.id).where(any_of(table.c.id, outside)))) if outside else set()
    for row in rows:
        if row[item.name] in outside - there:
            yield row, row[item.name]


def _unsound(resource: Resource, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows that are wrong as a whole without what was left out, unless the default makes them right."""
    for row in rows:
        for name in resource.model.flaws(row):
            row[name] = default_of(resource.model.__table__.c[name])
        for name, texts in resource.model.flaws(row).items():
            yield _conflict(resource, row["id"], str(row[resource.model.label]), "invalid", texts[0], field=name)


def _taken(resource: Resource, rows: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows whose name or number belongs to another object now."""
    for names, folded in unique_fields(resource.model.__table__):
        keys = {identity: key_of([row[name] for name in names], names, folded) for identity, row in rows.items()}
        wanted = {key: identity for identity, key in keys.items() if key is not None}
        for key, other in taken_keys(resource, wanted, names, folded).items():
            identity = wanted[key]
            if other == identity:
                continue
            title = resource.fields[names[-1]].title.lower()
            message = f"Another {service.singular(resource)} ({other}) has its {title} now."
            name = str(rows[identity][resource.model.label])
            yield {**_conflict(resource, identity, name, "taken", message, field=names[-1]), "by": other}


def _put_back(resource: Resource, record: Any) -> Restoration:
    """Give each field that a record changed its old value again."""
    before = sa.select(logs.c.action).where(
        logs.c.resource_type == resource.name,
        logs.c.resource_id == record.resource_id,
        logs.c.version == record.version - 1,
    )
    if db.session.scalar(before) in (None, "delete"):
        raise NotRestorable("This record tells how the object came to be; to undo that, delete it.")
    own = [name for name in record.changes if name not in resource.fields or resource.fields[name].read_only]
    if own:
        raise NotRestorable(f"Only the application itself changes {', '.join(own)}.")
    try:
        target = service.get(resource, record.resource_id, to_change=True)
    except NotFound:
        name, message = record.resource_name, "The object is gone: restore it first."
        raise RestoreConflict([_conflict(resource, record.resource_id, name, "gone", message)]) from None
    fields = {name: resource.fields[name] for name in record.changes}
    old = {name: from_json(item.kind, item, record.changes[name]["old"]) for name, item in fields.items()}
    row = {column.key: getattr(target, column.key) for column in target.__table__.columns} | old
    conflicts = [*_changed_since(resource, target, record.changes)]
    conflicts += _gone(resource, [row], {}, Restoration())
    conflicts += _taken(resource, {target.id: row})
    if conflicts:
        raise RestoreConflict(conflicts)
    unit_of_work().transaction.action = "restore"
    service.update(resource, target, old)
    return Restoration([_named(resource, {**row, "version": target.version})])


def _changed_since(resource: Resource, target: Any, changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, change in changes.items():
        now = as_json(getattr(target, name))
        if now != change["new"]:
            message = f"Its {resource.fields[name].title.lower()} has changed since."
            conflict = _conflict(resource, target.id, str(target), "changed", message, field=name)
            yield {**conflict, "now": now, "then": change["new"]}


def _conflict(
    resource: Resource, identity: int, name: str | None, problem: str, message: str, **facts: Any
) -> dict[str, Any]:
    return {"type": resource.name, "id": identity, "name": name, "problem": problem, "message": message, **facts}


def _named(resource: Resource, row: Mapping[str, Any]) -> dict[str, Any]:
    label = resource.model.label
    return {"type": resource.name, "id": row["id"], "name": str(row[label]), "version": row["version"]}
