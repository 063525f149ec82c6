"""The read path: the fields of a resource as JSON-ready dictionaries.

No ORM object is built and no schema dumps it: both together cost about three times the rest of a request.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import Prepared
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind

Render = Callable[[Sequence[Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Projection:
    """The SELECT of a resource's fields, and how one of its rows becomes an object of the answer."""

    statement: sa.Select[Any]
    one: Prepared
    """The same for the object with the id `identity`."""
    one_own: Prepared
    """The same, if the user `viewer` created it."""
    render: Render


@functools.lru_cache(maxsize=256)
def projection_of(resource: Resource, names: tuple[str, ...] | None = None) -> Projection:
    """The projection to these fields of the answer, or to all of them."""
    table = resource.model.__table__
    statement, render = project(resource, table, names)
    one = statement.where(table.c.id == sa.bindparam("identity", type_=sa.BigInteger))
    created_by = table.c.get("created_by_id", sa.null())
    own = one.where(created_by == sa.bindparam("viewer", type_=sa.BigInteger))
    return Projection(statement, Prepared(one), Prepared(own), render)


def project(
    resource: Resource, rows: sa.FromClause, names: tuple[str, ...] | None = None
) -> tuple[sa.Select[Any], Render]:
    """The SELECT of the fields of `rows`, the resource's table or what has its columns, and how it is rendered."""
    plain: list[Field] = []
    joined: list[tuple[str, Field, sa.ColumnElement[Any]]] = []
    source: Any = rows
    for field in resource.fields.values():
        if names is None or field.name in names:
            plain.append(field)
        if field.target is not None and (names is None or field.reads_as in names):
            referred = target_alias(resource, field)
            source = source.outerjoin(referred, rows.c[field.name] == referred.c.id)
            joined.append((field.reads_as, field, referred.c[field.target.label]))
    columns: list[sa.ColumnElement[Any]] = [rows.c[field.name] for field in plain]
    references: list[tuple[str, int, int]] = []
    for name, field, label in joined:
        if field not in plain:
            columns.append(rows.c[field.name])
        identity = plain.index(field) if field in plain else len(columns) - 1
        columns.append(label)
        references.append((name, identity, len(columns) - 1))
    # Two tables have columns of one name; the position is all that the renderer goes by.
    labelled = [_as_sent(column).label(f"c{position}") for position, column in enumerate(columns)]
    names_in_order = tuple(field.name for field in plain)
    return sa.select(*labelled).select_from(source), _renderer(names_in_order, references)


@functools.cache
def settled_version(resource: Resource) -> sa.Select[Any]:
    """The SELECT of the version of the object with the id `identity`, if that stands for the whole answer.

    It does if nothing that the object refers to has changed since, and nothing was noted that raises no version.
    """
    table = resource.model.__table__
    source: Any = table
    notes = [field for field in resource.fields.values() if field.kind is Kind.TIME and field.is_bookkeeping]
    times: list[sa.ColumnElement[Any]] = [field.column for field in notes]
    for field in resource.references.values():
        referred = target_alias(resource, field)
        source = source.outerjoin(referred, field.column == referred.c.id)
        times.append(referred.c.updated_at)
    settled = (sa.func.coalesce(time <= table.c.updated_at, sa.true()) for time in times)
    this = table.c.id == sa.bindparam("identity", type_=sa.BigInteger)
    return sa.select(table.c.version).select_from(source).where(this, *settled)


def _as_sent(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """An enumeration is sent by value, which is what the database has: no member is looked up in between."""
    return sa.type_coerce(column, sa.String()) if isinstance(column.type, sa.Enum) else column


def _renderer(names: tuple[str, ...], references: Sequence[tuple[str, int, int]]) -> Render:
    def render(row: Sequence[Any]) -> dict[str, Any]:
        item: dict[str, Any] = dict(zip(names, row, strict=False))
        for name, identity, label in references:
            value = row[identity]
            item[name] = None if value is None else {"id": value, "name": row[label]}
        return item

    return render


@functools.cache
def target_alias(resource: Resource, field: Field) -> sa.FromClause:
    """The joined table of a reference: one alias each, because a row may refer twice to one table."""
    assert field.target is not None
    return field.target.__table__.alias(f"{field.reads_as}_of_{resource.name}")
