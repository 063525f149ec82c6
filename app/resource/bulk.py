"""The set-based writer: many objects of one resource in a few statements, each with its audit record.

The counterpart of the session's listener for changes that are too many to build objects for. It runs in the
current transaction and raises what the database raises; whoever calls it has validated the values.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core import audit
from app.core.database import Entity, any_of, as_json, db, utcnow, write_rows
from app.resource.declaration import Resource

Values = Mapping[str, Any]


class StaleVersion(Exception):
    """An object has changed since the version that the change was meant for."""


@dataclass(frozen=True, slots=True)
class Change:
    """New values of an object that is at `version`, beside the ones that they replace."""

    object_id: int
    version: int
    name: str
    old: Values
    new: Values


def allocate_ids(resource: Resource, count: int) -> list[int]:
    """Take `count` ids that nobody has had and nobody else gets."""
    table = resource.model.__tablename__
    if db.engine.dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(table, "id")
        taken = sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count))
        return list(db.session.scalars(taken))
    # The transaction holds SQLite's only write lock, so nobody else reads the same number.
    last = db.session.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = :table"), {"table": table})
    return list(range((last or 0) + 1, (last or 0) + 1 + count))


def insert(resource: Resource, ids: Sequence[int], objects: Sequence[Values], created_by_id: int | None) -> None:
    """Create one object per id from its values; what they do not say has its default."""
    table = resource.model.__table__
    now = utcnow()
    columns = [column.key for column in table.columns]
    defaults = [_default(column) for column in table.columns]
    given = {"version": 1, "created_by_id": created_by_id, "created_at": now, "updated_at": now}
    rows = []
    for identity, values in zip(ids, objects, strict=True):
        known = {**given, **values, "id": identity}
        rows.append([known.get(name, default) for name, default in zip(columns, defaults, strict=True)])
    write_rows(table, columns, rows)
    audit.record_many(_creations(resource, columns, rows, now))


def update(resource: Resource, changes: Sequence[Change]) -> None:
    """Apply the changes in the order of their ids; raises StaleVersion if any object is not at its version.

    The order keeps two writers of the same objects from waiting for each other in a circle.
    """
    table = resource.model.__table__
    now = utcnow()
    alike: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: change.object_id):
        alike[tuple(sorted(change.new))].append(change)
    _lock(table, [change.object_id for change in changes])
    for names, group in alike.items():
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
            for change in group
        ]
        result = db.session.connection().execute(statement, rows)
        if result.rowcount != len(rows):
            raise StaleVersion
    audit.record_many(
        audit.entry(
            "update",
            table.name,
            change.object_id,
            change.name,
            version=change.version + 1,
            changes={
                name: {"old": as_json(change.old[name]), "new": as_json(value)} for name, value in change.new.items()
            },
            at=now,
        )
        for change in changes
    )


def delete(model: type[Entity], rows: Sequence[Values]) -> None:
    """Delete these rows, given with all their columns; each record holds what is needed to bring one back."""
    table = model.__table__
    now = utcnow()
    db.session.execute(sa.delete(table).where(any_of(table.c.id, [row["id"] for row in rows])))
    audit.record_many(
        audit.entry(
            "delete",
            table.name,
            row["id"],
            str(row[model.label]),
            version=row["version"] + 1,
            changes={},
            snapshot=audit.snapshot_of(model, row),
            at=now,
        )
        for row in rows
    )


def _lock(table: Any, ids: Sequence[int]) -> None:
    """Take the rows' locks in the order of their ids, before the first of them changes."""
    for start in range(0, len(ids), 10_000):
        some = ids[start : start + 10_000]
        if db.engine.dialect.name == "postgresql":
            wanted = table.c.id == sa.any_(sa.literal(list(some), sa.ARRAY(sa.BigInteger)))
            db.session.execute(sa.select(table.c.id).where(wanted).order_by(table.c.id).with_for_update())


def _creations(
    resource: Resource, columns: Sequence[str], rows: Sequence[Sequence[Any]], at: datetime
) -> Iterator[audit.Entry]:
    audited = audit.audited_columns(resource.model)
    places = [(place, name) for place, name in enumerate(columns) if name in audited]
    identity, label = columns.index("id"), columns.index(resource.model.label)
    kind = resource.model.__tablename__
    for row in rows:
        changes = {name: {"old": None, "new": as_json(row[place])} for place, name in places if row[place] is not None}
        yield audit.entry("create", kind, row[identity], str(row[label]), version=1, changes=changes, at=at)


def _default(column: sa.Column[Any]) -> Any:
    default: Any = column.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg
