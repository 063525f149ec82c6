"""Deleting objects together with everything under them, each with its record, in a number of statements that
depends on the depth of the tree and not on its size.

An object that the acting user does not see neither blocks the deletion nor is deleted: its reference becomes null.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa
from flask import current_app

from app.core.db.models import Base, Entity
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, NotOwner
from app.core.http.access import current_actor
from app.core.http.api import Blueprint
from app.core.messages import Term, tr
from app.resource.bulk import writer
from app.resource.fields import Field, fields_of
from app.resource.rows import invisible, sees_own_only, visible

MAX_LISTED = 1000
"""Objects that a preview names; its counts are exact."""

Row = dict[str, Any]


class HasChildren(Conflict):
    reason, message = "has_children", tr("This object still has others below it.")


@dataclass(frozen=True, slots=True)
class Removal:
    """The rows that a deletion removes, by model, children before parents."""

    rows: list[tuple[type[Entity], list[Row]]]
    detached: list[tuple[type[Entity], list[writer.Change]]] = field(default_factory=list)
    """Objects that stay but lose their reference: the acting user does not see them. No answer mentions them."""

    def as_dict(self) -> dict[str, Any]:
        listed = [
            {"type": model.__tablename__, "id": row["id"], "name": str(row[model.label])}
            for model, rows in reversed(self.rows)
            for row in rows
        ]
        counts = {model.__tablename__: len(rows) for model, rows in reversed(self.rows)}
        return {"counts": counts, "objects": listed[:MAX_LISTED]}


def removal_of(targets: Sequence[Entity], *, cascade: bool) -> Removal:
    """Find and lock what goes with these objects of one model.

    Raises Conflict, counting what stands in the way: children where they are not to go along, and objects that
    refer to one of these without being its child. Raises Forbidden where any of them belongs to somebody else.
    """
    removed: dict[type[Entity], dict[int, Row]] = defaultdict(dict)
    new: dict[type[Entity], set[int]] = {type(targets[0]): {target.id for target in targets}}
    removed[type(targets[0])].update({target.id: _row_of(target) for target in targets})
    while cascade and new:
        parents, new = new, {}
        for child, item in children_of(parents):
            ids = parents[_target_of(item.column)]
            reached = _select(child, item.column, ids, *visible(child))
            rows = {row["id"]: row for row in reached if row["id"] not in removed[child]}
            removed[child].update(rows)
            if rows:
                new.setdefault(child, set()).update(rows)
    detached = _unseen_referring(removed)
    _refuse_referred(removed)
    actor = current_actor()
    for rows in removed.values():
        if not actor.is_admin and any(row["created_by_id"] != actor.id for row in rows.values()):
            raise NotOwner(tr("Something under this object belongs to somebody else."))
    order = [table.name for table in Base.metadata.sorted_tables]
    models = sorted((model for model in removed if removed[model]), key=lambda model: -order.index(model.__tablename__))
    return Removal([(model, list(removed[model].values())) for model in models], detached)


def remove(targets: Sequence[Entity], removal: Removal) -> None:
    """Delete objects and what goes with them, each with its record and all that is needed to bring it back."""
    for model, changes in removal.detached:
        writer.update(model, changes)
    own = {target.id for target in targets}
    for model, rows in removal.rows:
        below = [row for row in rows if model is not type(targets[0]) or row["id"] not in own]
        if below:
            writer.delete(model, below)
    # Through the session, whose listeners know what speaks against it (the last administrator).
    for target in targets:
        db.session.delete(target)
    db.session.flush()


def detach_unseen(model: type[Entity], ids: Iterable[int]) -> None:
    """Have what the acting user does not see refer no more to these objects, which are about to be deleted."""
    for child, changes in _unseen_referring({model: {identity: {} for identity in ids}}):
        writer.update(child, changes)


def _row_of(target: Entity) -> Row:
    return {column.key: getattr(target, column.key) for column in target.__table__.columns}


def children_of(parents: Iterable[type[Entity]]) -> list[tuple[type[Entity], Field]]:
    """The models that are children of one of these, each with the reference that makes it one.

    What a client writes as a parent is one; who created an object, or holds it, is not.
    """
    targets = set(parents)
    return [
        (model, item)
        for model in _entities().values()
        for item in fields_of(model).values()
        if item.target in targets and not item.read_only
    ]


def _unseen_referring(removed: dict[type[Entity], dict[int, Row]]) -> list[tuple[type[Entity], list[writer.Change]]]:
    """Find and lock the rows that refer to any of these and that the acting user does not see."""
    detached: list[tuple[type[Entity], list[writer.Change]]] = []
    for model, item in children_of(removed):
        if sees_own_only(model):
            ids = removed[_target_of(item.column)]
            rows = _select(model, item.column, ids, *invisible(model))
            if rows:
                changes = [_without(row, item.name, str(row[model.label])) for row in rows]
                detached.append((model, changes))
    return detached


def _without(row: Row, name: str, label: str) -> writer.Change:
    return writer.Change(row["id"], row["version"], label, old={name: row[name]}, new={name: None})


def _refuse_referred(removed: dict[type[Entity], dict[int, Row]]) -> None:
    """Refuse while rows outside refer to any of these."""
    outside: dict[str, int] = defaultdict(int)
    entities = _entities()
    tables = {model.__table__: set(rows) for model, rows in removed.items() if rows}
    going = {table.name: ids for table, ids in tables.items()}
    for table in Base.metadata.sorted_tables:
        refers = [
            any_of(key.parent, tables[key.column.table])
            for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
            if key.ondelete is None and key.column.table in tables
        ]
        if refers:
            stays = sa.not_(any_of(table.c.id, going[table.name])) if table.name in going else sa.true()
            seen = visible(entities[table.name]) if table.name in entities else []
            statement = sa.select(sa.func.count()).select_from(table).where(sa.or_(*refers), stays, *seen)
            outside[table.name] += db.session.scalar(statement) or 0
    children = {name: count for name, count in outside.items() if count}
    if children:
        raise has_children(children)


def has_children(children: Mapping[str, int]) -> Conflict:
    """The error of deleting what other objects refer to: how many of each kind."""
    return HasChildren(tr("This object still has {listed}.", listed=text_of_counts(children)), children=dict(children))


def text_of_counts(children: Mapping[str, int]) -> Term:
    """How many there are of each kind, without a plural: `servers (1), gpus (6)`."""
    english = ", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in children.items())
    chinese = "、".join(f"{_titles_of(name).chinese}（{count}）" for name, count in children.items())
    return Term(english, chinese)


def _titles_of(table: str) -> Term:
    """What people call the objects of a table; the kernel knows them from the routes that serve them."""
    blueprint = current_app.blueprints[table.replace("_", "-")]
    return Term.of(cast(Blueprint, blueprint).titles)


def count_referring(model: type[Entity], ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """For each object, the rows that prevent its deletion, counted by table; one statement per foreign key."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    entities = _entities()
    for table in Base.metadata.sorted_tables:
        seen = visible(entities[table.name]) if table.name in entities else []
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            if key.ondelete is None and key.column.table is model.__table__:
                refers = sa.select(key.parent, sa.func.count()).where(any_of(key.parent, ids), *seen)
                for identity, count in db.session.execute(refers.group_by(key.parent)):
                    counts[identity][table.name] = counts[identity].get(table.name, 0) + count
    return counts


def _select(
    model: type[Entity], column: sa.Column[Any], ids: Iterable[int], *conditions: sa.ColumnElement[bool]
) -> list[Row]:
    table = model.__table__
    statement = sa.select(table).where(any_of(column, ids), *conditions).order_by(table.c.id).with_for_update()
    return [dict(row) for row in db.session.execute(statement).mappings()]


def _target_of(column: sa.Column[Any]) -> type[Entity]:
    (key,) = column.foreign_keys
    return _entities()[key.column.table.name]


def _entities() -> dict[str, type[Entity]]:
    """Every model that clients see, by its table, in the order of their names."""
    classes = [mapper.class_ for mapper in Entity.registry.mappers if issubclass(mapper.class_, Entity)]
    return {model.__tablename__: model for model in sorted(classes, key=lambda model: model.__tablename__)}
