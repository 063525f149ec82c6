"""The parameters of the audit log in the OpenAPI document."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from app.audit_logs.declaration import resource
from app.audit_logs.export import CONTENT_TYPES
from app.audit_logs.pages import MAX_COUNT
from app.core.http.api import Blueprint
from app.core.http.openapi.operations import View, file_responses, query_parameter
from app.resource import document_list

Parameter = dict[str, Any]

_SORT = (
    "`created_at` or `id`, with `-` for the latest first. "
    "With a range of `created_at` the order is by time, then by id."
)
_TOTAL = f"Counting ends at {MAX_COUNT:,}; if there are more, `pagination.at_least` is true. `none` skips the count."


def _text(name: str, description: str) -> Parameter:
    return query_parameter(name, {"type": "string"}, description)


_CHANGE_PARAMETERS = [
    _text(
        "field",
        "A field that changed, or `attributes.<key>`. Creations are searched only where `action` asks for `create`; "
        "else `pagination.left_out` names them.",
    ),
    _text("from", "The old value of `field`, or of any field; empty for null. Of a list, an item that was removed."),
    _text("to", "The new value; empty for null. Of a list, an item that was added."),
]


_SORTING: list[Parameter] = [
    query_parameter("sort", {"type": "string", "example": "-id"}, _SORT),
    query_parameter("total", {"$ref": "#/components/schemas/Total"}, _TOTAL),
]
NOT_IN_EXPORTS = frozenset({"page", "page_size", "cursor", "fields", "total"})


def document_log(
    blueprint: Blueprint, *, without: Collection[str] = (), more: Iterable[Parameter] = (), **documentation: Any
) -> Callable[[View], View]:
    """Document a view that takes the parameters of the audit log's list, `without` some and with `more`."""
    blueprint.shared_schemas["LogFormat"] = {"type": "string", "enum": list(CONTENT_TYPES)}
    own = [item for item in (*_SORTING, *_CHANGE_PARAMETERS) if item["name"] not in without]
    return document_list(blueprint, resource, without=["sort", "total", *without], more=[*more, *own], **documentation)


FORMAT = query_parameter(
    "format", {"$ref": "#/components/schemas/LogFormat"}, "The format of the file. Default: `xlsx`."
)
FILES = file_responses(
    "The file. CSV and NDJSON are streamed.",
    {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()},
)
