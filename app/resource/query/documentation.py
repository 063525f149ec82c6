"""The parameters of a list in the OpenAPI document, from the same declaration that parses them."""

from typing import Any

from app.core.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.query.filters import filter_names, operators_of
from app.resource.query.list_query import sortable

_SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.INTEGER: {"type": "integer"},
    Kind.REFERENCE: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.MONEY: {"type": "string", "format": "decimal"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIME: {"type": "string", "format": "date-time"},
}

_MEANINGS = {
    "": "Equal to any of these.",
    "ne": "Different from all of these.",
    "in": "Any of these, separated by commas.",
    "gt": "Greater than.",
    "gte": "At least.",
    "lt": "Less than.",
    "lte": "At most.",
    "contains": "Contains this text, ignoring case.",
    "startswith": "Starts with this text, ignoring case.",
    "isnull": "Has no value (true) or has one (false).",
}


def list_parameters(resource: Resource) -> list[dict[str, Any]]:
    """The parameter objects of OpenAPI for a resource's list."""
    columns = sortable(resource)
    fixed = [
        _parameter("page", {"type": "integer", "minimum": 1, "default": 1}, "The page, from 1."),
        _parameter(
            "page_size",
            {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_PAGE_SIZE,
                "default": DEFAULT_PAGE_SIZE,
            },
            "Objects on a page.",
        ),
        _parameter(
            "cursor",
            {"type": "string"},
            "Instead of page: empty to start, then `pagination.next_cursor` or `prev_cursor`.",
        ),
        _parameter(
            "sort",
            {"type": "string", "example": f"{columns[-1]},-id"},
            f"Columns in order, `-` for descending: {', '.join(columns)}.",
        ),
        _parameter(
            "q",
            {"type": "string", "maxLength": 200},
            "Text that any search column or attribute contains.",
        ),
        _parameter("fields", {"type": "string", "example": "id"}, "Only these fields, separated by commas."),
        _parameter(
            "total",
            {"type": "string", "enum": ["exact", "none"], "default": "exact"},
            "`none` skips the count.",
        ),
    ]
    filters = [
        _filter(name, operator, field)
        for name, field in filter_names(resource).items()
        for operator in sorted(operators_of(field, name, field.kind))
    ]
    return fixed + filters


def _filter(name: str, operator: str, field: Field) -> dict[str, Any]:
    by_name = field.target is not None and name == field.reads_as
    kind = Kind.TEXT if by_name else field.kind
    schema = dict(_SCHEMAS.get(kind, {"type": "string"}))
    if kind is Kind.CHOICE and field.choices is not None:
        schema["enum"] = [member.value for member in field.choices]
    if operator == "isnull":
        schema = {"type": "boolean"}
    elif operator == "in":
        schema = {"type": "string"}
    elif operator in ("", "ne"):
        schema = {"type": "array", "items": schema}
    return _parameter(f"{name}__{operator}" if operator else name, schema, _MEANINGS[operator])


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "in": "query",
        "name": name,
        "required": False,
        "schema": schema,
        "description": description,
    }
