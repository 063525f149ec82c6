"""Facets: the distinct values of fields among the objects that filters find, each with its number.

A filter on a field is left out of the field's own facet: after one status has been chosen, the counts of
the others are still shown.
"""

import functools
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import request
from marshmallow import INCLUDE, Schema, fields
from sqlalchemy.sql.visitors import replacement_traverse
from werkzeug.datastructures import MultiDict

from app.core.cache.backends import cached
from app.core.db.counters.declaration import Counter
from app.core.db.counters.reading import kept_counter, parts_of
from app.core.db.statements import read_rows
from app.core.errors import BadParameter, RepeatedParameter, UnknownParameter
from app.core.http.access import requires
from app.core.http.api import Blueprint
from app.core.http.openapi.operations import camel_case, query_parameter
from app.core.http.paging import MAX_TOTAL
from app.core.messages import tr
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.query.documentation import document_list
from app.resource.query.filters import EQUALITY, ORDER, TEXT, filter_names, unknown
from app.resource.query.json_filters import ATTRIBUTE, LIST_OPERATORS, attribute_text
from app.resource.query.known_names import check_attribute
from app.resource.query.list_query import ListQuery, Matching, parse_query
from app.resource.query.matches import conditions_of
from app.resource.query.paths import condition_of, models_on
from app.resource.query.select import narrowed
from app.resource.rows import target_alias

MAX_FACETS = 20
MAX_VALUES = 100
"""Values of a facet, the most frequent first."""
MAX_OBJECTS = MAX_TOTAL
"""Where counting ends unless a counter has the numbers or the request asks for exact ones."""

_PAGING = ("page", "page_size", "cursor", "sort")
_OPERATORS = EQUALITY | ORDER | TEXT | LIST_OPERATORS
_UNCOUNTED = frozenset({Kind.TIME, Kind.OBJECTS, Kind.DOCUMENT})

Row = list[Any]
"""The value, for a reference the name of its object, the number, and how many objects were counted or None."""


class FacetValueSchema(Schema):
    value = fields.Raw(
        required=True,
        allow_none=True,
        metadata={
            "type": ["string", "number", "boolean"],
            "description": "As a filter takes it: of a reference the id; null: no value (`__isnull=true`).",
        },
    )
    name = fields.String(metadata={"description": "Of a reference only: what its object is called."}, allow_none=True)
    count = fields.Integer(required=True)


class FacetSchema(Schema):
    values = fields.List(fields.Nested(FacetValueSchema), required=True)
    more = fields.Boolean(required=True, metadata={"description": f"Whether there are more than {MAX_VALUES} values."})
    at_least = fields.Boolean(
        required=True,
        metadata={
            "description": f"Whether more objects match than were counted: counting ended at {MAX_OBJECTS:,}, so that "
            "each number is at least this one, and further values may exist."
        },
    )


def add_facets_route(blueprint: Blueprint, resource: Resource) -> None:
    """Count the values of fields."""
    names = sorted(facet_fields(resource))
    members: dict[str, Any] = {name: fields.Nested(FacetSchema) for name in names}
    meta = type("Meta", (), {"unknown": INCLUDE})
    schema = type(f"{resource.noun}FacetsSchema", (Schema,), {"Meta": meta, **members})
    several = {"type": "array", "items": {"type": "string", "example": names[0]}, "minItems": 1, "maxItems": MAX_FACETS}
    described = query_parameter(
        "fields",
        several,
        f"The fields to count the values of, at most {MAX_FACETS}: {', '.join(f'`{name}`' for name in names)}. "
        "`attributes` counts the names that are used, `attributes.<key>` the values of one.",
        style="form",
        explode=False,
        required=True,
    )
    exactness = query_parameter(
        "total",
        {"type": "string", "enum": ["exact"]},
        f"`exact` counts all objects. Without it counting ends at {MAX_OBJECTS:,}, where the numbers are not kept; "
        "`at_least` is then true.",
    )

    @blueprint.get("/facets")
    @requires(resource.read)
    @document_list(
        blueprint,
        resource,
        without=[*_PAGING, "fields", "total"],
        more=[described, exactness],
        summary=f"Count the values of fields of {resource.titles[0]}, with the filters of the list.",
        description="The values by their number, the most frequent first. Filters on a field are left out of the "
        "field's own facet, so that the numbers of the values that are not chosen can be shown too. Texts that differ "
        "in case or width only are one value.",
        operationId=camel_case("count", resource.name, "values"),
    )
    @blueprint.response(200, schema)
    def count_values() -> dict[str, Any]:
        arguments: MultiDict[str, str] = MultiDict(request.args)
        names = _requested_names(resource, arguments)
        # Each filter is checked, also one that no facet takes.
        is_exact = parse_query(resource, arguments).total == "exact"
        return {name: _facet(resource, name, arguments, is_exact=is_exact) for name in names}


def facet_fields(resource: Resource) -> dict[str, Field]:
    """The fields that have a facet: references under the name of the object, attributes for their names."""
    counted = [field for field in resource.fields.values() if field.kind not in _UNCOUNTED]
    return {field.reads_as: field for field in counted if field.name not in ("id", "version")}


def _requested_names(resource: Resource, arguments: MultiDict[str, str]) -> list[str]:
    """Take the names of the fields out of the arguments; raises BadRequest."""
    for name in _PAGING:
        if name in arguments:
            raise UnknownParameter(tr("Facets have no {name}.", name=name), parameter=name, did_you_mean=[])
    if arguments.get("total", "exact") != "exact":
        raise BadParameter(
            tr("{parameter} must be one of {choices}.", parameter="total", rule="choice", choices="exact"),
            parameter="total",
        )
    names = [name.strip() for text in arguments.poplist("fields") for name in text.split(",") if name.strip()]
    if not names:
        raise BadParameter(tr("`fields` must name the fields to count the values of."), parameter="fields")
    if len(names) > MAX_FACETS:
        raise BadParameter(tr("`fields` may name at most {max} fields.", max=MAX_FACETS), parameter="fields")
    if len(set(names)) < len(names):
        raise RepeatedParameter(tr("`fields` names a field twice."), parameter="fields")
    countable = facet_fields(resource)
    for name in names:
        if name.startswith(ATTRIBUTE) and "attributes" in countable:
            check_attribute(resource, name, "fields")
        elif name not in countable:
            raise unknown("field", name, countable, parameter="fields")
    return names


def _facet(resource: Resource, name: str, arguments: MultiDict[str, str], *, is_exact: bool) -> dict[str, Any]:
    others = [item for item in arguments.items(multi=True) if not _is_about(resource, name, item[0])]
    query = narrowed(resource, parse_query(resource, MultiDict(others)))
    count = _counter(resource, name, _models(resource, name, query))
    rows = count(query.matching, tuple(sorted(query.values.items())), is_exact=is_exact)
    is_reference = name in resource.references
    values = [
        {"value": value, "name": label, "count": number} if is_reference else {"value": value, "count": number}
        for value, label, number, _ in rows[:MAX_VALUES]
    ]
    return {
        "values": values,
        "more": len(rows) > MAX_VALUES,
        "at_least": bool(rows) and (rows[0][3] or 0) > MAX_OBJECTS,
    }


def _is_about(resource: Resource, name: str, parameter: str) -> bool:
    """Whether a filter is one on the field of this facet; `attributes` has none."""
    subject, _, operator = parameter.rpartition("__")
    if operator not in _OPERATORS:
        subject = ""
    names = {name, resource.references[name].name} if name in resource.references else {name}
    return (subject or parameter) in names


def _models(resource: Resource, name: str, query: ListQuery) -> frozenset[type[Any]]:
    """The models that the numbers depend on."""
    names = [name, *(item.name for item in query.matching.filters)]
    return frozenset({resource.model}.union(*(models_on(resource, each) for each in names)))


@functools.lru_cache(maxsize=512)
def _counter(resource: Resource, name: str, models: frozenset[type[Any]]) -> Callable[..., list[Row]]:
    def count(matching: Matching, values: tuple[tuple[str, Any], ...], *, is_exact: bool) -> list[Row]:
        counter = _kept_counter(resource, name, matching)
        statement = _statement(resource, name, matching, counter, is_exact=is_exact)
        return [list(row) for row in read_rows(statement, dict(values))]

    count.__qualname__ = f"count_{resource.name}_{name}"
    return cached(*models)(count)


def _kept_counter(resource: Resource, name: str, matching: Matching) -> Counter | None:
    """The counter that has the numbers of a facet: one of its field and of those that are filtered by."""
    if matching.words or matching.own or name.startswith(ATTRIBUTE):
        return None
    fields_by_name = filter_names(resource)
    filtered = [fields_by_name.get(item.name) for item in matching.filters]
    columns = [field.column.key for field in (facet_fields(resource)[name], *filtered) if field is not None]
    return None if None in filtered else kept_counter(resource.model, columns)


@functools.lru_cache(maxsize=512)
def _statement(
    resource: Resource, name: str, matching: Matching, counter: Counter | None, *, is_exact: bool
) -> sa.Select[Any]:
    """The SELECT of the values, the most frequent first.

    Each with the name of its object, its number, and how many objects were counted, where counting may have ended.
    """
    if counter is not None:
        groups, objects = _kept_groups(resource, name, matching, counter), None
    else:
        groups, objects = _counted_groups(resource, name, matching, None if is_exact else MAX_OBJECTS + 1)
    label: sa.ColumnElement[Any] = sa.null()
    origin: Any = groups
    if field := resource.references.get(name):
        assert field.target is not None
        referred = target_alias(resource, field)
        label, origin = referred.c[field.target.label], groups.outerjoin(referred, groups.c.value == referred.c.id)
    shown: Any = groups.c.value
    total: Any = groups.c.number
    is_text = _is_text(resource, name)
    if is_text:
        # Folded after they are counted: SQLite would call Python for each row.
        shown, total = sa.func.min(shown), sa.func.sum(total)
    counted = sa.select(
        shown.label("shown"),
        label.label("label"),
        sa.cast(total, sa.BigInteger).label("total"),
        (sa.null() if objects is None else objects).label("objects"),
    )
    statement = counted.select_from(origin).order_by(sa.desc("total"), sa.asc("shown")).limit(MAX_VALUES + 1)
    return statement.group_by(sa.func.fold(groups.c.value)) if is_text else statement


def _kept_groups(resource: Resource, name: str, matching: Matching, counter: Counter) -> sa.Subquery:
    """The values and their numbers from a counter, whose columns stand for those of the table in the conditions."""
    parts, table = parts_of(resource.model, counter), resource.model.__table__
    columns = {table.c[column.name]: parts.c[column.name] for column in counter.columns}
    conditions = [
        replacement_traverse(condition_of(resource, item, f"p{at}"), {}, lambda element, **_: columns.get(element))
        for at, item in enumerate(matching.filters)
    ]
    value = _as_shown(columns[facet_fields(resource)[name].column])
    number = sa.func.sum(parts.c.number)
    grouped = sa.select(value.label("value"), number.label("number")).where(*conditions)
    return grouped.group_by(value).having(number != 0).subquery()


def _counted_groups(
    resource: Resource, name: str, matching: Matching, limit: int | None
) -> tuple[sa.Subquery, sa.ColumnElement[int] | None]:
    """The values and their numbers among the objects that match, `limit` of them at most, and how many these are."""
    table = resource.model.__table__
    column = table.c.attributes if name.startswith(ATTRIBUTE) else facet_fields(resource)[name].column
    matches = sa.select(column).where(*conditions_of(resource, matching))
    if not matching.filters and not matching.words:
        # The oldest ones: without an order, PostgreSQL would begin anywhere in a large table.
        matches = matches.order_by(table.c.id)
    matched = matches.limit(limit).cte("matched")
    source, value = _source(resource, name, matched, matched.c[column.key])
    number = sa.func.count()
    groups = sa.select(value.label("value"), number.label("number")).select_from(source).group_by(value).subquery()
    return groups, None if limit is None else sa.select(sa.func.count()).select_from(matched).scalar_subquery()


def _source(resource: Resource, name: str, matched: sa.CTE, column: sa.ColumnElement[Any]) -> tuple[Any, Any]:
    """What a facet counts: the rows, and the value in each."""
    if name.startswith(ATTRIBUTE):
        return matched, attribute_text(column, name.removeprefix(ATTRIBUTE))
    kind = facet_fields(resource)[name].kind
    if kind is Kind.ATTRIBUTES:
        entries = sa.func.json_entries(column).table_valued("key", "value")
        return matched.join(entries, sa.true()), entries.c.key
    if kind is Kind.LIST:
        members = sa.func.json_items(column).table_valued("value")
        return matched.join(members, sa.true()), members.c.value
    return matched, _as_shown(column)


def _as_shown(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A value as the answer has it: of an enumeration its text."""
    return sa.type_coerce(column, sa.String()) if isinstance(column.type, sa.Enum) else column


def _is_text(resource: Resource, name: str) -> bool:
    """Whether the values are texts that are compared without case."""
    return name.startswith(ATTRIBUTE) or facet_fields(resource)[name].kind in (Kind.TEXT, Kind.LIST)
