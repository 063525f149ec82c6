"""Keyset pagination: the next page begins after the sort values of the last row.

Unlike an offset, which reads and drops all rows before it, this costs the same on every page, and a row that is
inserted or deleted meanwhile neither repeats nor hides another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from app.core.db.rules import sort_key
from app.core.errors import InvalidCursor
from app.core.http.envelope import CursorPage, Page
from app.core.messages import tr
from app.core.values import as_json
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind, from_json
from app.resource.query.json_filters import ATTRIBUTE, attribute_number, attribute_text
from app.resource.rows import Render, target_alias

Clause = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order: absent values come last, or first where it is descending."""

    field: Field
    column: sa.ColumnElement[Any]
    kind: Kind
    descending: bool

    def ordered(self, *, backwards: bool = False) -> sa.ColumnElement[Any]:
        descending = self.descending != backwards
        ordered = self.column.desc() if descending else self.column.asc()
        if not self.field.nullable:
            return ordered
        return ordered.nulls_first() if descending else ordered.nulls_last()

    def beyond(self, parameter: str, *, is_null: bool, backwards: bool, inclusive: bool = False) -> Clause:
        """Whether a row's value comes after the parameter's in this order."""
        descending = self.descending != backwards
        if is_null:
            # Nothing comes after an absent value that is last; all that is present after one that is first.
            return self.column.is_not(None) if descending else sa.false()
        value = sa.bindparam(parameter, type_=self.column.type)
        if descending:
            return self.column <= value if inclusive else self.column < value
        further = self.column >= value if inclusive else self.column > value
        return sa.or_(further, self.column.is_(None)) if self.field.nullable else further

    def same(self, parameter: str, *, is_null: bool) -> Clause:
        if is_null:
            return self.column.is_(None)
        return self.column == sa.bindparam(parameter, type_=self.column.type)


@dataclass(frozen=True, slots=True)
class PageCursor:
    """A position between two rows: the sort values of the row before it, and the direction of reading."""

    values: tuple[Any, ...]
    backwards: bool = False

    @property
    def nulls(self) -> tuple[bool, ...]:
        return tuple(value is None for value in self.values)

    @property
    def parameters(self) -> dict[str, Any]:
        return {f"k{at}": value for at, value in enumerate(self.values) if value is not None}


def sort_keys(resource: Resource, sort: Sequence[str]) -> list[SortKey]:
    """The columns of an order; the id breaks ties, so that no row stands on two pages.

    It has the direction of the last column: the order is then the one of an index, or its reverse.
    """
    by_id = "-id" if sort and sort[-1].startswith("-") else "id"
    names = [*sort] if {"id", "-id"} & set(sort) else [*sort, by_id]
    keys: list[SortKey] = []
    for name in names:
        plain, descending = name.removeprefix("-"), name.startswith("-")
        if plain.startswith(ATTRIBUTE):
            keys += _attribute_keys(resource, plain.removeprefix(ATTRIBUTE), descending=descending)
        else:
            keys.append(_sort_key(resource, plain, descending=descending))
    return keys


def _attribute_keys(resource: Resource, key: str, *, descending: bool) -> list[SortKey]:
    """The order of an attribute: numbers, then texts, then objects without it; all reversed where it descends."""
    field = replace(resource.fields["attributes"], nullable=True)
    number = attribute_number(field.column, key)
    text = sa.func.natural_key(attribute_text(field.column, key))
    return [SortKey(field, number, Kind.NUMBER, descending), SortKey(field, text, Kind.TEXT, descending)]


def _sort_key(resource: Resource, name: str, *, descending: bool) -> SortKey:
    if name not in resource.references:
        field = resource.fields[name]
        key = sort_key(field.column)
        # The values of a cursor are keys then, and no addresses.
        return SortKey(field, key, field.kind if key is field.column else Kind.TEXT, descending)
    field = resource.references[name]
    assert field.target is not None
    label = target_alias(resource, field).c[field.target.label]
    return SortKey(field, sa.func.natural_key(label), Kind.TEXT, descending)


def after(keys: Sequence[SortKey], nulls: Sequence[bool], *, backwards: bool) -> Clause:
    """Whether a row comes after the sort values in the parameters k0, k1, …; `nulls` says which are absent."""
    beyond: list[Clause] = []
    level: list[Clause] = []
    for at, (key, is_null) in enumerate(zip(keys, nulls, strict=True)):
        parameter = f"k{at}"
        beyond.append(sa.and_(*level, key.beyond(parameter, is_null=is_null, backwards=backwards)))
        level.append(key.same(parameter, is_null=is_null))
    first = keys[0].beyond("k0", is_null=nulls[0], backwards=backwards, inclusive=True)
    if nulls[0]:
        return sa.or_(*beyond)
    # Implied by the rest, and all that an index on the first column needs to begin at the right place.
    return sa.and_(first, sa.or_(*beyond))


def cursor_page(
    resource: Resource,
    sort: Sequence[str],
    cursor: PageCursor | None,
    rows: Sequence[Sequence[Any]],
    *,
    page_size: int,
    render: Render,
    total: int | None,
    at_least: bool = False,
) -> Page:
    """The page of rows selected after a cursor, in the direction of reading.

    They are one more than a page has, if there is a further page; their last columns are the sort values.
    """
    keys = len(sort_keys(resource, sort))
    backwards = cursor is not None and cursor.backwards
    further, rows = len(rows) > page_size, rows[:page_size]
    rows = rows[::-1] if backwards else rows
    has_next, has_previous = (bool(cursor), further) if backwards else (further, bool(cursor))

    def cursor_at(index: int, *, backwards: bool) -> str:
        return write_cursor(resource, sort, rows[index][-keys:], backwards=backwards)

    return Page(
        [render(row) for row in rows],
        CursorPage(
            page_size=page_size,
            total=total,
            next_cursor=cursor_at(-1, backwards=False) if rows and has_next else None,
            prev_cursor=cursor_at(0, backwards=True) if rows and has_previous else None,
            at_least=at_least,
        ),
    )


def read_cursor(text: str, resource: Resource, sort: Sequence[str]) -> PageCursor:
    """The place that a cursor of ours names; raises BadRequest for one that we did not make for this order."""
    try:
        made_for, backwards, *values = _serializer(resource).loads(text)
    except (BadData, ValueError):
        raise InvalidCursor(tr("This cursor is not one of ours."), parameter="cursor") from None
    if made_for != ",".join(sort):
        raise InvalidCursor(tr("This cursor belongs to another order."), parameter="cursor")
    keys = sort_keys(resource, sort)
    typed = tuple(from_json(key.kind, key.field, value) for key, value in zip(keys, values, strict=True))
    return PageCursor(typed, bool(backwards))


def write_cursor(resource: Resource, sort: Sequence[str], values: Sequence[Any], *, backwards: bool) -> str:
    """The text that brings a client back to the place after the row of these sort values."""
    written = [",".join(sort), int(backwards), *(as_json(value) for value in values)]
    return str(_serializer(resource).dumps(written))


def _serializer(resource: Resource) -> URLSafeSerializer:
    # Signed, so that what comes back can be trusted to be values of these columns.
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt=f"cursor of {resource.name}")
