"""The rows of a resource: which of them the acting user sees, how they are read as answers, and how one is written.

Of a private model, only an object's creator and administrators see it. To everybody else it does not exist: an answer
about it is a 404, and it is neither listed nor counted nor found. A query of a model adds the conditions of `visible`,
and a cache keys its answers by the `viewer_of` it.

No ORM object is built and no schema dumps it: both together cost about three times the rest of a request.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.core.audit.models import STORED, WRITTEN
from app.core.db.dialects.protocol import Dialect
from app.core.db.dialects.registry import current_dialect
from app.core.db.models import Id, JsonAsSent
from app.core.db.prepared import Prepared
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db, touch
from app.core.http.access import current_actor
from app.core.values import MAX_ID
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind

Render = Callable[[Sequence[Any]], dict[str, Any]]


class Private:
    """Marks a model whose objects are visible to their creator and to administrators only."""


def sees_own_only(model: Any) -> bool:
    """Whether the acting user sees no more of a model's objects than their own."""
    return issubclass(model, Private) and not current_actor().is_admin


def viewer_of(model: Any) -> int | None:
    """The acting user, where the rows of a model depend on who asks: what is cached of them is kept for each."""
    return current_actor().id if sees_own_only(model) else None


def is_own(model: Any) -> sa.ColumnElement[bool]:
    """The condition that the user with the id `viewer`, a parameter, has created a row."""
    created_by: sa.ColumnElement[Any] = model.__table__.c.get("created_by_id", sa.null())
    return created_by == sa.bindparam("viewer", type_=sa.BigInteger)


def visible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user sees."""
    return [] if (viewer := viewer_of(model)) is None else [model.__table__.c.created_by_id == viewer]


def invisible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user does not see; an object without a creator is one."""
    viewer = viewer_of(model)
    return [sa.false() if viewer is None else model.__table__.c.created_by_id.is_distinct_from(viewer)]


def visible_ids(model: Any, ids: Collection[int]) -> Collection[int]:
    """The ids of those objects that the acting user sees: an error may name no other."""
    if not ids or not sees_own_only(model):
        return ids
    identity = model.__table__.c.id
    return set(db.session.scalars(sa.select(identity).where(any_of(identity, ids), *visible(model))))


def is_visible(model: Any, created_by_id: int | None) -> bool:
    """Whether the acting user sees an object of this creator."""
    return (viewer := viewer_of(model)) is None or created_by_id == viewer


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
def projection_of(resource: Resource, names: tuple[str, ...] | None = None, *, is_sent: bool = False) -> Projection:
    """The projection to these fields of the answer, or to all of them.

    `is_sent`: objects are only sent, so JSON columns are texts that are not parsed: a sixth of the calls of a page.
    """
    table = resource.model.__table__
    statement, render = project(resource, table, names, is_sent=is_sent)
    one = statement.where(table.c.id == sa.bindparam("identity", type_=sa.BigInteger))
    return Projection(statement, Prepared(one), Prepared(one.where(is_own(resource.model))), render)


def read_row(resource: Resource, object_id: int, names: tuple[str, ...] | None = None) -> dict[str, Any] | None:
    """The object as the acting user sees it, with these fields of the answer or all of them; None if it is not seen."""
    if object_id > MAX_ID:
        return None
    projection, viewer = projection_of(resource, names), viewer_of(resource.model)
    if viewer is None:
        rows = projection.one.rows({"identity": object_id})
    else:
        rows = projection.one_own.rows({"identity": object_id, "viewer": viewer})
    return projection.render(rows[0]) if rows else None


def project(
    resource: Resource, rows: sa.FromClause, names: tuple[str, ...] | None = None, *, is_sent: bool = False
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
    read = _as_sent if is_sent else _by_value
    labelled = [read(column).label(f"c{position}") for position, column in enumerate(columns)]
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


def _by_value(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """An enumeration is sent by value, which is what the database has: no member is looked up in between."""
    return sa.type_coerce(column, sa.String()) if isinstance(column.type, sa.Enum) else column


def _as_sent(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """JSON besides as the text that it is in the database."""
    if isinstance(column.type, sa.JSON):
        return sa.type_coerce(sa.cast(column, sa.Text()), JsonAsSent())
    return _by_value(column)


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


class RowWrite:
    """How a row is written together with its audit record and read as the answer; see `row_write`."""

    def __init__(self, resource: Resource, names: tuple[str, ...]) -> None:
        table = resource.model.__table__
        values = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
        row: sa.Insert | sa.Update = sa.insert(table).values(values)
        if "id" not in values:
            identity, before = sa.bindparam("identity", type_=Id), sa.bindparam("before", type_=sa.Integer)
            row = sa.update(table).values(values).where(table.c.id == identity, table.c.version == before)
        record = {name: sa.bindparam(f"record_{name}", type_=STORED.c[name].type) for name in WRITTEN}
        self._names = names
        self._tables = table.name, STORED.name
        self._answer = projection_of(resource)
        self._statements = (
            Prepared(row.returning(table.c.id)),
            Prepared(sa.insert(STORED).inline().values(record)),
            self._answer.one,
        )
        written = row.returning(*table.c).cte("written")
        recorded = sa.insert(STORED).from_select(WRITTEN, sa.select(*record.values()).select_from(written))
        self._as_one = Prepared(project(resource, written)[0].add_cte(recorded.cte("recorded")))

    def execute(self, row: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write the row as it is from now on; None, and nothing is written, if it is not at the version before.

        Raises DBAPIError.
        """
        values = {f"new_{name}": row[name] for name in self._names}
        values |= {f"record_{name}": value for name, value in record.items()}
        values |= {"identity": row["id"], "before": row["version"] - 1}
        touch(*self._tables)
        if current_dialect().statements.WITH_MAY_WRITE:
            rows = self._as_one.rows(values)
        else:
            write_row, write_record, read_answer = self._statements
            if rows := write_row.rows(values):
                write_record.rows(values)
                rows = read_answer.rows(values)
        return self._answer.render(rows[0]) if rows else None


@functools.lru_cache(maxsize=1024)
def row_write(resource: Resource, names: tuple[str, ...]) -> RowWrite:
    """The write of these columns: of a new row if its id is among them, else of the row at the version before."""
    return RowWrite(resource, names)


def next_id(table: sa.Table) -> int:
    """The id of a new row; no other transaction gets the same one."""
    identity: int = _next_id(table, current_dialect()).rows({})[0][0]
    return identity


@functools.cache
def _next_id(table: sa.Table, dialect: Dialect) -> Prepared:
    return Prepared(dialect.statements.select_next_id(table))
