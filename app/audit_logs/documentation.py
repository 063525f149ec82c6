"""The parameters of the audit log in the OpenAPI document."""

from typing import Any

from app.audit_logs.declaration import resource
from app.audit_logs.export import CONTENT_TYPES
from app.audit_logs.pages import MAX_COUNT
from app.resource.query.documentation import list_parameters

Parameter = dict[str, Any]

_SORT = (
    "`created_at` or `id`, with `-` for the latest first. "
    "With a range of `created_at` the order is by time, then by id."
)
_TOTAL = f"Counting ends at {MAX_COUNT:,}; if there are more, `pagination.at_least` is true. `none` skips the count."


def _text(name: str, description: str) -> Parameter:
    return {"in": "query", "name": name, "required": False, "schema": {"type": "string"}, "description": description}


_CHANGE_PARAMETERS = [
    _text("field", "A field that changed, or `attributes.<key>`. Creations do not count as changes."),
    _text("from", "The old value of `field`, or of any field; empty for null. Of a list, an item that was removed."),
    _text("to", "The new value; empty for null. Of a list, an item that was added."),
]


def _list_parameters() -> list[Parameter]:
    overrides: dict[str, Parameter] = {
        "sort": {"description": _SORT, "schema": {"type": "string", "example": "-id"}},
        "total": {"description": _TOTAL},
    }
    return [{**item, **overrides.get(item["name"], {})} for item in list_parameters(resource)]


LIST_PARAMETERS = [*_list_parameters(), *_CHANGE_PARAMETERS]

_PAGING = frozenset({"page", "page_size", "cursor", "fields", "total"})
FORMAT = {
    "in": "query",
    "name": "format",
    "schema": {"type": "string", "enum": list(CONTENT_TYPES), "default": "xlsx"},
    "description": "The format of the file.",
}
EXPORT_PARAMETERS = [FORMAT, *(item for item in LIST_PARAMETERS if item["name"] not in _PAGING)]
FILES = {
    200: {
        "description": "The file. CSV and NDJSON are streamed.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()},
    }
}
NOT_IN_EXPORTS = _PAGING
