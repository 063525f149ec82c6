"""The ids and sort values of a page, each order by walking an index as far as the page needs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.db.dialects.protocol import Dialect
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.query.pages.cursor import SortKey, after
from app.resource.rows import target_alias

Limit = sa.ColumnElement[int]


class _KeyQuery(NamedTuple):
    """A query for some rows of a page: its sort keys, and what they are joined with."""

    keys: Sequence[SortKey]
    source: sa.FromClause
    conditions: Sequence[sa.ColumnElement[bool]] = ()
    few: sa.Subquery | None = None
    """Few objects in their order: of each of them, some rows are read that refer to it."""


def ordered_ids(
    resource: Resource,
    conditions: Sequence[sa.ColumnElement[bool]],
    sort: Sequence[str],
    keys: Sequence[SortKey],
    dialect: Dialect,
    *,
    limit: Limit,
    offset: Limit | None = None,
    end: Limit | None = None,
    nulls: Sequence[bool] | None = None,
    backwards: bool = False,
) -> sa.Select[Any]:
    """The columns `identity`, `s0`, `s1`, … of the rows that meet the conditions, in order.

    `end`: the offset plus the limit, because MariaDB adds no numbers there.

    `nulls`: which of the sort values are absent that the page begins after. Where a reference comes first in the order,
    objects with it and objects without it are two queries: their outer join is sorted as a whole, while each of them
    walks an index (20 of 100,000 servers by datacenter: 1.2 instead of 310 ms).
    """
    parts = []
    for part in _parts(resource, sort, keys, nulls, dialect, backwards=backwards):
        rows = _select(resource, [*conditions, *part.conditions], part, nulls, backwards=backwards)
        if part.few is not None:
            of_each = rows.limit(limit if end is None else end).lateral()
            rows = _of_each(part.few, of_each, part.keys, backwards=backwards)
        parts.append(rows)
    if len(parts) == 1:
        return parts[0].limit(limit).offset(offset)
    both = sa.union_all(*(sa.select(part.limit(limit if end is None else end).subquery()) for part in parts)).subquery()
    order = [key.ordered(backwards=backwards) for key in renamed(keys, both)]
    return sa.select(both).order_by(*order).limit(limit).offset(offset)


def walks_index(resource: Resource, sort: Sequence[str]) -> bool:
    """Whether a page in this order is read from an index, or the objects are few.

    Further columns are sorted among objects that are equal in the first one: those are very many where it is counted,
    because it has few values.
    """
    sorted_by = getattr(resource.model, "sorted_by", ())
    first, *others = [name.removeprefix("-") for name in sort] or ["id"]
    if not sorted_by or first == "id":
        return True
    item = resource.references.get(first) or resource.fields.get(first)
    if item is None or item.column.key not in sorted_by:
        return False
    has_few_values = item.kind is not Kind.TIME and any(item.column.key in names for names in resource.model.counted_by)
    return not has_few_values or others[:1] in ([], ["id"])


def renamed(keys: Sequence[SortKey], page: sa.FromClause) -> list[SortKey]:
    """The sort keys as columns of a page that is a subquery."""
    return [replace(key, column=page.c[f"s{at}"]) for at, key in enumerate(keys)]


def _parts(
    resource: Resource,
    sort: Sequence[str],
    keys: Sequence[SortKey],
    nulls: Sequence[bool] | None,
    dialect: Dialect,
    *,
    backwards: bool,
) -> list[_KeyQuery]:
    source: sa.FromClause = resource.model.__table__
    first = resource.references.get(sort[0].removeprefix("-")) if sort else None
    for name in (name.removeprefix("-") for name in sort):
        item = resource.references.get(name)
        if item is not None and item is not first:
            referred = target_alias(resource, item)
            source = source.outerjoin(referred, item.column == referred.c.id)
    if first is None:
        return [_KeyQuery(keys, source)]
    parts = []
    if not (nulls and nulls[0] and keys[0].descending == backwards):
        # Otherwise the page begins after an object without the reference, and these come last.
        referred, key = _in_order(resource, first, keys[0])
        refers = first.column == referred.c.id
        if isinstance(referred, sa.Subquery) and dialect.statements.HAS_LATERAL:
            parts.append(_KeyQuery([key, *keys[1:]], source, [refers], referred))
        else:
            parts.append(_KeyQuery([key, *keys[1:]], source.join(referred, refers)))
    if first.nullable:
        absent = replace(keys[0], column=sa.cast(sa.null(), keys[0].column.type))
        parts.append(_KeyQuery([absent, *keys[1:]], source, [first.column.is_(None)]))
    return parts


def _in_order(resource: Resource, item: Field, key: SortKey) -> tuple[sa.FromClause, SortKey]:
    """The objects that are referred to, and the sort key as a column of theirs.

    They have an index in this order, or are few: then they are sorted first, which PostgreSQL would not do by itself.
    """
    referred = target_alias(resource, item)
    assert item.target is not None
    if item.target.label in item.target.sorted_by:
        return referred, key
    # With an OFFSET, the subquery is not merged with the rest.
    few = sa.select(referred.c.id, key.column.label("key")).order_by("key").offset(0).subquery()
    return few, replace(key, column=few.c.key)


def _of_each(
    few: sa.Subquery, rows: sa.FromClause, keys: Sequence[SortKey], *, backwards: bool
) -> sa.Select[*tuple[Any, ...]]:
    """The first rows that refer to each of few objects, in their order: an index has those of each in order.

    In a join PostgreSQL would sort all rows that refer to the first of them: 20 of 4,000,000 GPUs by their user, who
    has a third of them, took it 1,000 instead of 20 ms.
    """
    first, *rest = renamed(keys, rows)
    first = replace(first, column=few.c.key)
    order = [key.ordered(backwards=backwards) for key in (first, *rest)]
    columns = [first.column.label("s0"), *(rows.c[f"s{at}"] for at in range(1, len(keys)))]
    return sa.select(rows.c.identity, *columns).select_from(few.join(rows, sa.true())).order_by(*order)


def _select(
    resource: Resource,
    conditions: Sequence[sa.ColumnElement[bool]],
    part: _KeyQuery,
    nulls: Sequence[bool] | None,
    *,
    backwards: bool,
) -> sa.Select[Any]:
    values = [key.column.label(f"s{at}") for at, key in enumerate(part.keys)]
    identity = resource.model.__table__.c.id.label("identity")
    statement = sa.select(identity, *values).select_from(part.source).where(*conditions)
    if nulls is not None:
        statement = statement.where(after(part.keys, nulls, backwards=backwards))
    # A constant that is ordered by keeps PostgreSQL from walking the index of the rest.
    order = part.keys[1:] if part.conditions else part.keys
    return statement.order_by(*(key.ordered(backwards=backwards) for key in order))
