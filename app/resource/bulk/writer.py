"""The set-based writer: many objects of one resource in a few statements, each with its audit record.

The counterpart of the session's listener for changes that are too many to build objects for. It runs in the
current transaction and raises what the database raises; the caller has validated the values.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.audit import recorder
from app.core.audit.bulk import creation_records
from app.core.audit.declaration import guarded_columns
from app.core.audit.mac import state_mac
from app.core.audit.recorder import created, snapshot_of
from app.core.db.dialects.registry import current_dialect
from app.core.db.models import Entity
from app.core.db.statements import BATCH_ROWS, BoundRows, any_of, bind_rows, write_bound, write_rows
from app.core.db.unit_of_work import current_context, db, touch
from app.core.values import as_json, utcnow
from app.resource.bulk.write_order import WriteOrder
from app.resource.declaration import Resource
from app.resource.fields import defaults_of

Values = Mapping[str, Any]


class StaleVersion(Exception):
    """An object is not at the version for which the change was made."""


@dataclass(frozen=True, slots=True)
class Change:
    """New values of an object that is at `version`, beside the ones that they replace."""

    object_id: int
    version: int
    name: str
    old: Values
    new: Values


def allocate_ids(resource: Resource, count: int) -> list[int]:
    """Reserve `count` new ids."""
    return current_dialect().statements.allocate_ids(db.session.connection(), resource.model.__table__, count)


def lock(model: type[Entity], ids: Sequence[int]) -> None:
    """Lock objects in the order of their ids, before the first of them changes.

    Two writers of the same objects then wait for each other, and never in a circle.
    """
    if current_dialect().statements.HAS_ROW_LOCKS:
        table = model.__table__
        rows_to_lock = sa.select(table.c.id).where(any_of(table.c.id, ids)).order_by(table.c.id)
        db.session.execute(rows_to_lock.with_for_update())


def insert(resource: Resource, ids: Sequence[int], objects: Sequence[Values], created_by_id: int | None) -> None:
    """Create one object per id from its values, with its audit record; missing values are the defaults."""
    for start in range(0, len(ids), BATCH_ROWS):
        batch = slice(start, start + BATCH_ROWS)
        write_creations(bind_creations(resource, ids[batch], objects[batch], created_by_id))


class Creations(NamedTuple):
    """New objects and their audit records as the driver takes them."""

    objects: BoundRows
    records: BoundRows


def write_creations(creations: Creations) -> None:
    """Write them in the current transaction."""
    # MariaDB and SQLite note each change that has no record yet.
    write_bound(creations.records)
    write_bound(creations.objects)


def bind_creations(
    resource: Resource, ids: Sequence[int], objects: Sequence[Values], created_by_id: int | None
) -> Creations:
    """Convert new objects for the driver, at most BATCH_ROWS at a time; the database is not queried."""
    _refuse_orm_only(resource.model)
    table = resource.model.__table__
    now, count = utcnow(), len(ids)
    common = {"version": 1, "created_by_id": created_by_id, "created_at": now, "updated_at": now}
    filled = set().union(*objects)
    # Columns that no object fills are the same value for all, which costs less than a look into each object.
    columns: dict[str, Sequence[Any]] = {
        name: [values.get(name, default) for values in objects] if name in filled else [default] * count
        for name, default in defaults_of(resource.model).items()
    }
    columns |= {**{name: [value] * count for name, value in common.items()}, "id": ids}
    names = tuple(column.key for column in table.columns)
    rows = bind_rows(table, names, zip(*(columns[name] for name in names), strict=True))
    return Creations(rows, creation_records(resource.model, columns))


def update(model: type[Entity], changes: Sequence[Change], *, action: str = "update") -> None:
    """Apply the changes, recorded as this action; raises StaleVersion if any object is not at its version.

    Objects may give unique values to each other. One whose value goes round in a circle has two records: see
    write_order.py.
    """
    _refuse_orm_only(model)
    table = model.__table__
    now = utcnow()
    lock(model, [change.object_id for change in changes])
    order = WriteOrder(model)
    order.add({change.object_id: change.new for change in changes})
    in_turn = list(_in_turn(order, {change.object_id: change for change in changes}))
    takers = {change.object_id for change in in_turn}
    alike: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: change.object_id):
        if change.object_id not in takers:
            alike[tuple(sorted(change.new))].append(change)
    for group in alike.values():
        _require_all(group, _update_together(table, group, now))
    for names, neighbours in groupby(in_turn, key=lambda change: tuple(sorted(change.new))):
        group = list(neighbours)
        _require_all(group, _update_each(table, names, group, now))
    _record(table, action, [*(change for change in changes if change.object_id not in takers), *in_turn], now)


def _in_turn(order: WriteOrder, changes: Mapping[int, Change]) -> Iterator[Change]:
    """The changes of objects that take what others give up, and those that park one of them."""
    rest = dict(changes)
    for identity, stored, parked in order.steps():
        change = rest[identity]
        if stored is None or parked is None:
            yield change
            continue
        yield replace(change, old=stored, new=parked)
        old, new = {**change.old, **parked}, {**stored, **change.new}
        rest[identity] = replace(change, version=change.version + 1, old=old, new=new)


def _require_all(changes: Sequence[Change], written: int) -> None:
    if written != len(changes):
        raise StaleVersion


def _record(table: sa.Table, action: str, changes: Sequence[Change], now: datetime) -> None:
    context = current_context()
    recorder.record_many(
        recorder.entry(
            action,
            table.name,
            change.object_id,
            change.name,
            version=change.version + 1,
            changes={
                name: {"old": as_json(change.old[name]), "new": as_json(value)} for name, value in change.new.items()
            },
            at=now,
            context=context,
        )
        for change in changes
    )


def _refuse_orm_only(model: type[Entity]) -> None:
    # Its records of many rows carry no `state_mac`.
    if model.orm_only or guarded_columns(model):
        raise RuntimeError(f"The rules of {model.__name__} run in the session's flush: write it through the ORM.")


def _update_together(table: sa.Table, changes: Sequence[Change], now: datetime) -> int:
    """Update objects whose changes are of the same columns; returns how many were at their versions."""
    update_versions, connection = current_dialect().statements.update_versions, db.session.connection()
    written = 0
    for start in range(0, len(changes), BATCH_ROWS):
        batch = changes[start : start + BATCH_ROWS]
        rows = [{**change.new, "id": change.object_id, "version": change.version} for change in batch]
        written += update_versions(connection, table, rows, {"updated_at": now})
    touch(table.name)
    return written


def _update_each(table: sa.Table, names: Sequence[str], changes: Sequence[Change], now: datetime) -> int:
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("the_id"), table.c.version == sa.bindparam("the_version"))
        .values(
            {
                **{name: sa.bindparam(f"new_{name}") for name in names},
                "version": table.c.version + 1,
                "updated_at": now,
            }
        )
    )
    rows = [
        {
            "the_id": change.object_id,
            "the_version": change.version,
            **{f"new_{name}": change.new[name] for name in names},
        }
        for change in changes
    ]
    return db.session.connection().execute(statement, rows).rowcount


def delete(model: type[Entity], rows: Sequence[Values]) -> None:
    """Delete these rows, given with all their columns; each record holds what is needed to bring one back."""
    _refuse_orm_only(model)
    table = model.__table__
    now, context = utcnow(), current_context()
    # The records first, as in write_creations.
    recorder.record_many(
        recorder.entry(
            "delete",
            table.name,
            row["id"],
            str(row[model.label]),
            version=row["version"] + 1,
            changes={},
            snapshot=snapshot_of(model, row),
            at=now,
            context=context,
        )
        for row in rows
    )
    db.session.execute(sa.delete(table).where(any_of(table.c.id, [row["id"] for row in rows])))


def restore(model: type[Entity], rows: Sequence[Values]) -> None:
    """Store deleted rows again, given with all their columns, the version that follows the deletion among them."""
    table = model.__table__
    columns = [column.key for column in table.columns]
    write_rows(table, columns, [[row[name] for name in columns] for row in rows])
    recorder.record_many(
        recorder.entry(
            "restore",
            table.name,
            row["id"],
            str(row[model.label]),
            version=row["version"],
            changes=created(row, model),
            at=row["updated_at"],
            state_mac=state_mac(model, row),
        )
        for row in rows
    )
