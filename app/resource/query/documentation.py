"""The parameters of a list in the OpenAPI document, from the same declaration that parses them.

What all lists share is described once; a resource adds its columns to sort by, its fields, and one object of filters
that list, export and tree have in common. A generated client has them as one type: `ServerFilter`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

from app.core.http.api import Blueprint
from app.core.http.openapi.operations import Parameter, View, query_parameter
from app.core.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_TOTAL
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.query.filters import filter_names, operators_of
from app.resource.query.list_query import sortable
from app.resource.query.paths import open_references

Schema = dict[str, Any]

_SCHEMAS: Mapping[Kind, Schema] = {
    Kind.INTEGER: {"type": "integer"},
    Kind.REFERENCE: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.MONEY: {"type": "string", "format": "decimal"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIME: {"$ref": "#/components/schemas/TimeOrDate"},
}
_TIME_OR_DATE = {
    "type": "string",
    "anyOf": [{"format": "date-time"}, {"format": "date"}],
    "description": "A time, or a date, which stands for its whole day in UTC.",
}
_TOTAL = {"type": "string", "enum": ["exact", "none"]}
_FILTERS = """\
Conditions that all must hold: `name`, or `name__operator`. A name repeated is equal to any of its values; `ne` is \
different from all of them; empty text is no value. `in`: any of these, separated by commas. `all`: a list that has \
all of these. `gt`, `gte`, `lt`, `lte`: in order. `contains`, `startswith`: of a text, ignoring case. `isnull`: has no \
value (true) or has one (false); an empty list is none. An address may have any spelling, and a network such as \
10.0.0.0/8 stands for the IP addresses in it."""
_MEMBERS = {"style": "form", "explode": True, "example": {}}
"""How an object travels each of whose members is a query parameter of its own. Swagger UI begins with the example, and
without one with a value for every member."""


def _several(name: str, values: Iterable[str], description: str) -> dict[str, Any]:
    schema = {"type": "array", "items": {"type": "string", "enum": list(values)}}
    return query_parameter(name, schema, description, style="form", explode=False)


_SHARED: Mapping[str, dict[str, Any]] = {
    "Page": query_parameter("page", {"type": "integer", "minimum": 1}, "The page, from 1."),
    "PageSize": query_parameter(
        "page_size",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
        f"Objects on a page. Default: `{DEFAULT_PAGE_SIZE}`.",
    ),
    "Cursor": query_parameter(
        "cursor",
        {"type": "string"},
        "Instead of page: empty to start, then `pagination.next_cursor` or `prev_cursor`.",
    ),
    "Search": query_parameter(
        "q", {"type": "string", "maxLength": 200}, "Words that an object must hold, in any order and field."
    ),
    "Total": query_parameter(
        "total",
        {"$ref": "#/components/schemas/Total"},
        f"Counting ends at {MAX_TOTAL:,}; if there are more, `pagination.at_least` is true. `exact` counts all, `none` "
        "nothing.",
    ),
}
_ATTRIBUTES = query_parameter(
    "attributes",
    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    "Conditions on the organisation's own fields: `attributes.<key>`, such as `attributes.qos`, with the operators of "
    "filters. A number is compared with numbers, also with those that are stored as text; any other value with texts.",
    **_MEMBERS,
)

_RELATED = query_parameter(
    "related",
    {"type": "object", "additionalProperties": {"type": "string"}},
    "Conditions on the objects that are referred to: `<reference>.<filter>`, such as "
    '`{"server.datacenter": "SH-1"}`, also over several references. A service '
    "in a container is found by the `server` of its container too.",
    **_MEMBERS,
)


def document_list(
    blueprint: Blueprint,
    resource: Resource,
    *,
    without: Collection[str] = (),
    more: Iterable[Parameter] = (),
    **documentation: Any,
) -> Callable[[View], View]:
    """Document a view that takes the parameters of a resource's list, `without` some and with `more`.

    What else is given goes to the blueprint's `doc`.
    """
    described = list_parameters(resource)
    blueprint.shared_schemas |= {
        "TimeOrDate": _TIME_OR_DATE,
        "Total": _TOTAL,
        _own(resource, "filter"): filter_schema(resource),
    }
    used = {name: parameter for name, parameter in described.items() if parameter["name"] not in without}
    blueprint.shared_parameters.update(used)
    return cast("Callable[[View], View]", blueprint.doc(parameters=[*more, *used], **documentation))


def list_parameters(resource: Resource) -> dict[str, dict[str, Any]]:
    """The parameters of a resource's list by their names in the document; the first are those of all lists."""
    columns = sortable(resource)
    orders = [order for column in columns for order in (column, f"-{column}")]
    filters = {"$ref": f"#/components/schemas/{_own(resource, 'filter')}"}
    parameters = {
        **_SHARED,
        _own(resource, "sort"): _several("sort", orders, "The columns to sort by, in order; `-` for descending."),
        _own(resource, "fields"): _several("fields", [*resource.fields, *resource.references], "Only these fields."),
        _own(resource, "filter"): query_parameter("filter", filters, _FILTERS, **_MEMBERS),
    }
    if open_references(resource):
        parameters["Related"] = _RELATED
    if any(field.kind is Kind.ATTRIBUTES for field in resource.fields.values()):
        parameters["Attributes"] = _ATTRIBUTES
    return parameters


def filter_schema(resource: Resource) -> Schema:
    """The object of all conditions of a resource's list."""
    conditions = {
        f"{name}__{operator}" if operator else name: _condition(name, operator, field)
        for name, field in filter_names(resource).items()
        for operator in sorted(operators_of(field, name, field.kind))
    }
    return {"type": "object", "properties": conditions, "additionalProperties": False}


def document_selection(blueprint: Blueprint, resource: Resource) -> str:
    """Share the schema of the filter of a bulk write, and return its name: JSON can have several values of a name."""
    conditions = filter_schema(resource)["properties"]
    for name, condition in conditions.items():
        if "__" not in name or name.endswith("__ne"):
            conditions[name] = {"anyOf": [condition, {"type": "array", "items": condition}]}
    schema = {
        "type": "object",
        "description": "As in a list: `{status: active, memory_gb__gte: 64}`; a list of values is any of them. "
        "`attributes.<key>` and `<reference>.<filter>` too.",
        "properties": {"q": {"type": "string"}, **conditions},
        # Of any type: orval writes an index signature, which the types of all members would have to satisfy.
        "additionalProperties": {},
    }
    blueprint.shared_schemas |= {
        "TimeOrDate": _TIME_OR_DATE,
        _own(resource, "selection"): schema,
    }
    return _own(resource, "selection")


def _condition(name: str, operator: str, field: Field) -> Schema:
    if operator == "isnull":
        return {"type": "boolean"}
    by_name = field.target is not None and name == field.reads_as
    kind = Kind.TEXT if by_name else field.kind
    schema = dict(_SCHEMAS.get(kind, {"type": "string"}))
    if kind is Kind.CHOICE and field.choices is not None:
        # The converter of schemas has shared it under this name.
        schema = {"$ref": f"#/components/schemas/{field.choices.__name__}"}
    return {"type": "array", "items": schema} if operator in ("in", "all") else schema


def _own(resource: Resource, parameter: str) -> str:
    """The name in the document of a parameter that only this resource's lists have: `ServerSort`."""
    return resource.noun + parameter.title()
