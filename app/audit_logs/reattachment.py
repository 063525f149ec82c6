"""Reattachment: private objects that a deletion detached point to the restored objects again.

The deletion of a server neither deletes nor shows private tasks of other users: these lose the reference, and the
audit log has a record of that with the request id of the deletion (app/resource/cascade.py).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import fold
from app.resource import Private, Resource
from app.resource.bulk import writer

logs = AuditLog.__table__

ObjectKey = tuple[str, int]
"""The type and the id of an object."""


@dataclass(slots=True)
class Detached:
    """A private object that lost references to deleted objects: its latest record of that, and their ids by field."""

    record: Any
    references: dict[str, int] = field(default_factory=dict)


def reattach(request_id: str, restored: Collection[ObjectKey]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each reference that a deletion took from a private object, and whether it points to its object again.

    It does not if the private object has been deleted since, or is about something else now.
    """
    for resource in CATALOG.values():
        if issubclass(resource.model, Private):
            yield from _reattach(resource, _select_detached(resource, request_id, restored))


def _select_detached(resource: Resource, request_id: str, restored: Collection[ObjectKey]) -> dict[int, Detached]:
    statement = sa.select(logs).where(
        # The first condition is the one that the index serves.
        sa.func.fold(logs.c.request_id) == fold(request_id),
        logs.c.request_id == request_id,
        logs.c.resource_type == resource.name,
        logs.c.version.is_not(None),
        logs.c.action != "delete",
    )
    types = {item.name: item.target.__tablename__ for item in resource.references.values() if item.target}
    detached: dict[int, Detached] = {}
    for record in db.session.execute(statement.order_by(logs.c.id)):
        for name, change in record.changes.items():
            if change["new"] is None and (types.get(name), change["old"]) in restored:
                item = detached.setdefault(record.resource_id, Detached(record))
                item.record, item.references[name] = record, change["old"]
    return detached


def _reattach(resource: Resource, detached: Mapping[int, Detached]) -> Iterator[tuple[dict[str, Any], bool]]:
    table = resource.model.__table__
    statement = sa.select(table).where(any_of(table.c.id, detached)).order_by(table.c.id).with_for_update()
    stored = {row["id"]: dict(row) for row in db.session.execute(statement).mappings()} if detached else {}
    changes = []
    for object_id, item in detached.items():
        shown = {"type": resource.name, "id": object_id, "name": item.record.resource_name}
        version, is_reattached = item.record.version, False
        if row := stored.get(object_id):
            is_reattached = _may_refer(resource, row, item.references)
            version = row["version"] + is_reattached
            shown["name"] = str(row[resource.model.label])
        if is_reattached:
            nothing = dict.fromkeys(item.references)
            changes.append(writer.Change(object_id, version - 1, shown["name"], old=nothing, new=item.references))
        for name, value in item.references.items():
            yield {**shown, "version": version, "field": name, "value": value}, is_reattached
    if changes:
        writer.update(resource.model, changes, action="restore")


def _may_refer(resource: Resource, row: Mapping[str, Any], references: Mapping[str, int]) -> bool:
    """Whether an object still refers to nothing in these fields, and is valid with these references."""
    return all(row[name] is None for name in references) and not resource.model.validate({**row, **references})
