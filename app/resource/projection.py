"""The read path: which rows of a resource the acting user sees, and their fields as JSON-ready dictionaries.

No ORM object is built and no schema dumps it: both together cost about three times the rest of a request.

Of a private model, only an object's creator and administrators see it. To everybody else it does not exist: an answer
about it is a 404, and it is neither listed nor counted nor found. A query of a model adds the conditions of `visible`,
and a cache keys its answers by the viewer.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.http.access import current_actor
from app.resource.declaration import Resource
from app.resource.fields import Field

Render = Callable[[Sequence[Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Projection:
    """The SELECT of a resource's fields, and how one of its rows becomes an object of the answer."""

    statement: sa.Select[Any]
    one: sa.Select[Any]
    """The same for the object with the id `identity`; built once, because a new statement costs a new cache key."""
    render: Render


@functools.lru_cache(maxsize=256)
def projection_of(resource: Resource, names: tuple[str, ...] | None = None) -> Projection:
    """The projection to these fields of the answer, or to all of them."""
    plain: list[Field] = []
    joined: list[tuple[str, Field, sa.ColumnElement[Any]]] = []
    source: Any = resource.model.__table__
    for field in resource.fields.values():
        if names is None or field.name in names:
            plain.append(field)
        if field.target is not None and (names is None or field.reads_as in names):
            referred = target_alias(resource, field)
            source = source.outerjoin(referred, field.column == referred.c.id)
            joined.append((field.reads_as, field, referred.c[field.target.label]))
    columns: list[sa.ColumnElement[Any]] = [field.column for field in plain]
    references: list[tuple[str, int, int]] = []
    for name, field, label in joined:
        if field not in plain:
            columns.append(field.column)
        identity = plain.index(field) if field in plain else len(columns) - 1
        columns.append(label)
        references.append((name, identity, len(columns) - 1))
    # Two tables have columns of one name; the position is all that the renderer goes by.
    labelled = [_as_sent(column).label(f"c{position}") for position, column in enumerate(columns)]
    names_in_order = tuple(field.name for field in plain)
    statement = sa.select(*labelled).select_from(source)
    this = resource.model.__table__.c.id == sa.bindparam("identity", type_=sa.BigInteger)
    return Projection(statement, statement.where(this), _renderer(names_in_order, references))


def _as_sent(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """An enumeration is sent by value, which is what the database has: no member is looked up in between."""
    return sa.type_coerce(column, sa.String()) if isinstance(column.type, sa.Enum) else column


def _renderer(names: tuple[str, ...], references: Sequence[tuple[str, int, int]]) -> Render:
    def render(row: Sequence[Any]) -> dict[str, Any]:
        item: dict[str, Any] = dict(zip(names, row, strict=False))
        for name, identity, label in references:
            found = row[identity]
            item[name] = None if found is None else {"id": found, "name": row[label]}
        return item

    return render


@functools.cache
def target_alias(resource: Resource, field: Field) -> sa.FromClause:
    """The joined table of a reference: one alias each, because a row may refer twice to one table."""
    assert field.target is not None
    return field.target.__table__.alias(f"{field.reads_as}_of_{resource.name}")


class Private:
    """Marks a model whose objects are visible to their creator and to administrators only."""


def sees_own_only(model: Any) -> bool:
    """Whether the acting user sees no more of a model's objects than their own."""
    return issubclass(model, Private) and not current_actor().is_admin


def visible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user sees."""
    return [model.__table__.c.created_by_id == current_actor().id] if sees_own_only(model) else []


def invisible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user does not see; an object without a creator is one."""
    if not sees_own_only(model):
        return [sa.false()]
    return [model.__table__.c.created_by_id.is_distinct_from(current_actor().id)]


def visible_ids(model: Any, ids: Collection[int]) -> Collection[int]:
    """The ids of those objects that the acting user sees: an error may name no other."""
    if not ids or not sees_own_only(model):
        return ids
    identity = model.__table__.c.id
    return set(db.session.scalars(sa.select(identity).where(any_of(identity, ids), *visible(model))))


def is_visible(model: Any, created_by_id: int | None) -> bool:
    """Whether the acting user sees an object of this creator."""
    return not sees_own_only(model) or created_by_id == current_actor().id
