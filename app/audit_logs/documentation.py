"""The parameters of the audit log in the OpenAPI document."""

from typing import Any

from app.audit_logs.declaration import resource
from app.audit_logs.export import CONTENT_TYPES
from app.audit_logs.query import MOST_COUNTED
from app.resource.query.documentation import list_parameters

Parameter = dict[str, Any]

_SORT = (
    "`created_at` or `id`, `-` for the latest first. Within a range of `created_at` the order is that of time, "
    "and of the id where that is the same."
)
_TOTAL = f"Counting ends at {MOST_COUNTED:,}: of more, `pagination.at_least` is true. `none` skips the count."


def _text(name: str, description: str) -> Parameter:
    return {"in": "query", "name": name, "required": False, "schema": {"type": "string"}, "description": description}


_CHANGED = [
    _text("field", "A field that changed, or `attributes.<key>`; a creation is no change."),
    _text("from", "What a field (that of `field`, or any) was before; empty: nothing. Of a list, what it lost."),
    _text("to", "What it became; empty: nothing. Of a list, what it got."),
]


def _listed() -> list[Parameter]:
    told: dict[str, Parameter] = {
        "sort": {"description": _SORT, "schema": {"type": "string", "example": "-id"}},
        "total": {"description": _TOTAL},
    }
    return [{**item, **told.get(item["name"], {})} for item in list_parameters(resource)]


LIST_PARAMETERS = [*_listed(), *_CHANGED]

_PAGING = frozenset({"page", "page_size", "cursor", "fields", "total"})
FORMAT = {
    "in": "query",
    "name": "format",
    "schema": {"type": "string", "enum": list(CONTENT_TYPES), "default": "xlsx"},
    "description": "The kind of file.",
}
EXPORT_PARAMETERS = [FORMAT, *(item for item in LIST_PARAMETERS if item["name"] not in _PAGING)]
FILES = {
    200: {
        "description": "The file. CSV and NDJSON are sent while they are read.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()},
    }
}
NOT_IN_EXPORTS = _PAGING
