"""Deleting an object together with everything under it, each with its record, in a number of statements that
depends on the depth of the tree and not on its size.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.core.database import Base, Entity, any_of, db
from app.core.errors import Conflict, Forbidden
from app.core.security import current_actor
from app.resource import bulk
from app.resource.fields import fields_of

MAX_LISTED = 1000
"""Objects that a preview names; its counts are exact."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Removal:
    """What a deletion takes along: the rows of each model, those that refer before those that are referred to."""

    rows: list[tuple[type[Entity], list[Row]]]

    def as_dict(self) -> dict[str, Any]:
        listed = [
            {"type": model.__tablename__, "id": row["id"], "name": str(row[model.label])}
            for model, rows in reversed(self.rows)
            for row in rows
        ]
        counts = {model.__tablename__: len(rows) for model, rows in reversed(self.rows)}
        return {"counts": counts, "objects": listed[:MAX_LISTED]}


def removal_of(target: Entity, *, cascade: bool) -> Removal:
    """Find and lock what goes with an object.

    Raises Conflict, counting what stands in the way: children where they are not to go along, and objects that
    refer to one of these without being its child. Raises Forbidden where any of them belongs to somebody else.
    """
    found: dict[type[Entity], dict[int, Row]] = defaultdict(dict)
    new: dict[type[Entity], set[int]] = {type(target): {target.id}}
    found[type(target)][target.id] = _row_of(target)
    while cascade and new:
        parents, new = new, {}
        for child, column in _children_of(parents):
            ids = parents[_target_of(column)]
            rows = {row["id"]: row for row in _select(child, column, ids) if row["id"] not in found[child]}
            found[child].update(rows)
            if rows:
                new.setdefault(child, set()).update(rows)
    _refuse_referred(found)
    actor = current_actor()
    for rows in found.values():
        if not actor.is_admin and any(row["created_by_id"] != actor.id for row in rows.values()):
            raise Forbidden("Something under this object belongs to somebody else.", reason="not_owner")
    order = [table.name for table in Base.metadata.sorted_tables]
    models = sorted((model for model in found if found[model]), key=lambda model: -order.index(model.__tablename__))
    return Removal([(model, list(found[model].values())) for model in models])


def remove(target: Entity, removal: Removal) -> None:
    """Delete an object and what goes with it, each with its record and all that is needed to bring it back."""
    for model, rows in removal.rows:
        below = [row for row in rows if model is not type(target) or row["id"] != target.id]
        if below:
            bulk.delete(model, below)
    # Through the session, whose listeners know what speaks against it (the last administrator).
    db.session.delete(target)
    db.session.flush()


def _row_of(target: Entity) -> Row:
    return {column.key: getattr(target, column.key) for column in target.__table__.columns}


def _children_of(parents: Iterable[type[Entity]]) -> list[tuple[type[Entity], sa.Column[Any]]]:
    """The models that are children of one of these, each with the column that makes it one.

    What a client writes as a parent is one; who created an object, or holds it, is not.
    """
    wanted = set(parents)
    return [
        (mapper.class_, field.column)
        for mapper in sorted(Entity.registry.mappers, key=lambda mapper: str(mapper.local_table))
        if issubclass(mapper.class_, Entity)
        for field in fields_of(mapper.class_).values()
        if field.target in wanted and not field.read_only
    ]


def _refuse_referred(found: dict[type[Entity], dict[int, Row]]) -> None:
    """Refuse while rows outside refer to any of these."""
    outside: dict[str, int] = defaultdict(int)
    tables = {model.__table__: set(rows) for model, rows in found.items() if rows}
    going = {table.name: ids for table, ids in tables.items()}
    for table in Base.metadata.sorted_tables:
        refers = [
            any_of(key.parent, tables[key.column.table])
            for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
            if key.ondelete is None and key.column.table in tables
        ]
        if refers:
            stays = sa.not_(any_of(table.c.id, going[table.name])) if table.name in going else sa.true()
            statement = sa.select(sa.func.count()).select_from(table).where(sa.or_(*refers), stays)
            outside[table.name] += db.session.scalar(statement) or 0
    children = {name: count for name, count in outside.items() if count}
    if children:
        listed = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in children.items())
        raise Conflict(f"This object still has {listed}.", reason="has_children", children=children)


def _select(model: type[Entity], column: sa.Column[Any], ids: Iterable[int]) -> list[Row]:
    table = model.__table__
    statement = sa.select(table).where(any_of(column, ids)).order_by(table.c.id).with_for_update()
    return [dict(row) for row in db.session.execute(statement).mappings()]


def _target_of(column: sa.Column[Any]) -> type[Entity]:
    (key,) = column.foreign_keys
    return next(mapper.class_ for mapper in Entity.registry.mappers if mapper.local_table is key.column.table)
