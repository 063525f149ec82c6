"""Objects as they were: rebuilt from the audit log, in the shape in which they are read now.

The log has every version of every object, so what somebody saw at a time is the sum of the records up to it. What is
bookkeeping and leaves no record (when somebody last signed in) is not known of the past, and null.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields

from app.core.audit.models import AuditLog
from app.core.db.dialects.registry import current_dialect
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import BadParameter, NotFound
from app.core.messages import tr
from app.core.values import as_json, utcnow
from app.resource import service
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind, default_of
from app.resource.query.parameter_values import TimeSpan, read_text
from app.resource.rows import is_visible

logs = AuditLog.__table__


@dataclass(slots=True)
class State:
    """An object at a time: its columns as JSON, or that it had been deleted."""

    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    is_there: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def apply(self, record: Any) -> None:
        """Go on to the version of the next record."""
        self.version, self.updated_at = record.version, record.created_at
        if record.action == "delete":
            self.is_there = False
            return
        if not self.is_there:
            # Created, or brought back: the record has all that there is.
            self.is_there, self.values = True, {}
            self.created_at = self.created_at or record.created_at
        self.values.update((name, change["new"]) for name, change in record.changes.items())


class AsOf(fields.AwareDateTime):
    """A time that has come, read as filters read theirs."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        return read_time(str(value))


class AsOfSchema(Schema):
    as_of = AsOf(
        metadata={
            "description": "As it was then, rebuilt from the audit log: with the names of then, without an ETag. "
            "A date stands for its end in UTC, or for now."
        }
    )


def read_time(text: str) -> datetime:
    """The time of `as_of`, for a date its end or now; raises BadRequest for none, and for one that is still to come."""
    period: TimeSpan = read_text("as_of", text, Kind.TIME, None)
    now = utcnow()
    if period.start > now:
        raise BadParameter(tr("{parameter} lies ahead.", parameter="as_of"), parameter="as_of")
    return min(period.end - timedelta.resolution, now)


def read_as_of(resource: Resource, object_id: int, at: datetime) -> dict[str, Any]:
    """The object as its clients saw it at that time; raises NotFound where it was not there."""
    objects = objects_at(resource, [object_id], at)
    if not objects:
        raise NotFound(
            tr("There was no {what} {object_id} then.", what=service.singular(resource), object_id=object_id)
        )
    return objects[0]


def objects_at(resource: Resource, ids: Collection[int], at: datetime) -> list[dict[str, Any]]:
    """Those of the objects that were there at that time, and that the acting user sees, in the order of their ids."""
    states = {
        identity: state
        for identity, state in _states(resource.name, ids, at).items()
        # Who created an object never changes.
        if state.is_there and is_visible(resource.model, state.values.get("created_by_id"))
    }
    names = _names(resource, states.values(), at)
    return [_render(resource, identity, states[identity], names) for identity in sorted(states)]


def children_at(resource: Resource, parent: str, ids: Collection[int], at: datetime) -> list[dict[str, Any]]:
    """The objects whose reference `parent` was one of these ids at that time, in the order of their ids."""
    candidates = _ever_under(resource, parent, ids, at) if ids else set()
    return [item for item in objects_at(resource, candidates, at) if item[parent] in ids]


def owners_of(resource: Resource, ids: Collection[int]) -> dict[int, int | None]:
    """The creator of each object; for a deleted one, from the snapshot in its last record."""
    table = resource.model.__table__
    existing = sa.select(table.c.id, table.c.created_by_id).where(any_of(table.c.id, ids))
    owners: dict[int, int | None] = dict(db.session.execute(existing).all())
    if deleted := set(ids) - set(owners):
        deletions = sa.select(logs.c.resource_id, logs.c.snapshot).where(
            logs.c.resource_type == resource.name, any_of(logs.c.resource_id, deleted), logs.c.action == "delete"
        )
        by_version = db.session.execute(deletions.order_by(logs.c.version))
        owners |= {identity: snapshot["created_by_id"] for identity, snapshot in by_version}
    return owners


def ids_at(resource: Resource, at: datetime, among: Collection[int] | None = None) -> list[int]:
    """The ids of all objects, or of those among these, that were there at that time, in order."""
    records = _until(resource.name, at, among).subquery()
    statement = (
        sa.select(records.c.resource_id)
        .join(
            logs,
            sa.and_(
                logs.c.resource_type == resource.name,
                logs.c.resource_id == records.c.resource_id,
                logs.c.version == records.c.version,
            ),
        )
        .where(logs.c.action != "delete")
        .order_by(records.c.resource_id)
    )
    return list(db.session.scalars(statement))


def _until(kind: str, at: datetime, ids: Collection[int] | None) -> sa.Select[Any]:
    """The last version of each object up to a time."""
    statement = sa.select(logs.c.resource_id, sa.func.max(logs.c.version).label("version")).where(
        logs.c.resource_type == kind, logs.c.version.is_not(None), logs.c.created_at <= at
    )
    if ids is not None:
        statement = statement.where(any_of(logs.c.resource_id, ids))
    return statement.group_by(logs.c.resource_id)


def _states(kind: str, ids: Collection[int], at: datetime) -> dict[int, State]:
    if not ids:
        return {}
    last = _until(kind, at, ids).subquery()
    # By version and not by time: the clocks of two machines differ.
    statement = (
        sa.select(logs.c.resource_id, logs.c.version, logs.c.action, logs.c.created_at, logs.c.changes)
        .join(last, sa.and_(logs.c.resource_id == last.c.resource_id, logs.c.version <= last.c.version))
        .where(logs.c.resource_type == kind)
        .order_by(logs.c.resource_id, logs.c.version)
    )
    states: dict[int, State] = defaultdict(State)
    for record in db.session.execute(statement):
        states[record.resource_id].apply(record)
    return states


def _ever_under(resource: Resource, parent: str, ids: Collection[int], at: datetime) -> set[int]:
    """The objects that were under one of these at that time, and others: they still are, or left it, or are gone."""
    table = resource.model.__table__
    of_resource = logs.c.resource_type == resource.name
    was_one = current_dialect().audit.lost_one(logs.c.changes, parent, ids)
    in_snapshot = sa.func.text_member(logs.c.snapshot, sa.literal(parent, sa.Text()))
    stayed = sa.select(table.c.id).where(any_of(table.c[parent], ids))
    moved_away = sa.select(logs.c.resource_id).where(
        of_resource, logs.c.action != sa.literal_column("'create'"), was_one
    )
    gone = sa.select(logs.c.resource_id).where(
        of_resource, logs.c.action == "delete", logs.c.created_at > at, any_of(in_snapshot, ids)
    )
    return set(db.session.scalars(sa.union(stayed, moved_away, gone)))


def _names(resource: Resource, states: Iterable[State], at: datetime) -> dict[tuple[str, int], Any]:
    """What the objects that are referred to were called at that time."""
    ids_by_type: dict[str, set[int]] = defaultdict(set)
    labels: dict[str, str] = {}
    for item in resource.references.values():
        assert item.target is not None
        labels[item.target.__tablename__] = item.target.label
        for state in states:
            if state.values.get(item.name) is not None:
                ids_by_type[item.target.__tablename__].add(state.values[item.name])
    return {
        (kind, identity): state.values.get(labels[kind])
        for kind, ids in ids_by_type.items()
        for identity, state in _states(kind, ids, at).items()
    }


def _render(resource: Resource, identity: int, state: State, names: Mapping[tuple[str, int], Any]) -> dict[str, Any]:
    own: dict[str, Any] = {
        "id": identity,
        "version": state.version,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
    }
    item = {name: own[name] if name in own else _value(one, state) for name, one in resource.fields.items()}
    for name, one in resource.references.items():
        assert one.target is not None
        referred: Any = item[one.name]
        label = names.get((one.target.__tablename__, referred))
        item[name] = None if referred is None else {"id": referred, "name": label}
    return item


def _value(one: Field, state: State) -> Any:
    """The value of then; a column that is younger than the record has its default."""
    value = state.values.get(one.name)
    return as_json(default_of(one.column)) if value is None and not one.nullable else value
