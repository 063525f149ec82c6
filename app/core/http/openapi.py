"""Parts of the OpenAPI document beyond the schemas: failures, headers, and the names of schemas and operations."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from app.core.http import rate_limiter
from app.core.http.access import Access
from app.core.http.envelope import FailureSchema
from app.core.request_context import REASON, REASON_HEADER, REASON_LENGTH

View = Callable[..., Any]

_FAILURES: dict[int, str] = {
    400: "Unreadable JSON, or an unknown or ill-typed query parameter.",
    401: "No valid token.",
    403: "Signed in, but not allowed.",
    404: "No such object.",
    409: "A conflict with stored data.",
    412: "If-Match does not match; `data.current` is the object as it is now.",
    413: "The body is too large.",
    415: "Wrong content type.",
    422: "Some fields are invalid; every bad one is named in `data.errors`.",
    428: "A bulk write by filter without `expected_count`.",
    429: "Too many requests: by address where somebody signs in, by token elsewhere.",
    503: "A dependency is away; try again after Retry-After seconds.",
}


_REASONS = (
    {
        "in": "query",
        "name": REASON,
        "schema": {"type": "string", "minLength": 1, "maxLength": REASON_LENGTH},
        "description": "Why, for the audit log.",
    },
    {
        "in": "header",
        "name": REASON_HEADER,
        "schema": {"type": "string", "minLength": 1},
        "description": "The same in a header, where anything but ASCII is percent-encoded UTF-8 (`Ger%C3%A4t`) or an "
        f"`ext-value` of RFC 8187 (`UTF-8''Ger%C3%A4t`); at most {REASON_LENGTH} characters when decoded.",
    },
)


def document_reason(view: View) -> None:
    """Document that a write may say why."""
    for parameter in _REASONS:
        document_header(view, parameter)


def document_header(view: View, parameter: Mapping[str, Any]) -> None:
    docs: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
    manual = docs.get("manual_doc", {})
    # Parameters documented by hand replace all others.
    place = manual if "parameters" in manual else docs.setdefault("arguments", {})
    place.setdefault("parameters", []).append(dict(parameter))


def header_docs(headers: Mapping[str, str] | None) -> dict[str, Any] | None:
    if headers is None:
        return None
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def documents_query(view: View) -> bool:
    """Whether a view documents query parameters."""
    docs: dict[str, Any] = view.__dict__.get("_apidoc", {})
    declared = (
        *docs.get("arguments", {}).get("parameters", ()),
        *docs.get("manual_doc", {}).get("parameters", ()),
    )
    return any(item["in"] == "query" for item in declared)


def document_failures(view: View, rule: str, access: Access, methods: list[str]) -> None:
    """Document the failures that a route's methods, path and access make possible."""
    statuses = {400, 429, 503}
    if access != "public":
        statuses |= {401, 403}
    if "<" in rule:
        statuses.add(404)
    if not set(methods) <= {"GET", "HEAD"}:
        statuses |= {409, 413, 415, 422}
    if set(methods) & {"PUT", "PATCH", "DELETE"}:
        statuses.add(412)
    if rule.endswith("/bulk"):
        statuses |= {404, 428}
    docs: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
    responses = docs.setdefault("response", {}).setdefault("responses", {})
    for status in sorted(statuses):
        failure = {"schema": FailureSchema, "description": _FAILURES[status], "content_type": None}
        if status == 429:
            failure["headers"] = header_docs({"Retry-After": "Seconds to wait.", **rate_limiter.HEADERS})
        responses.setdefault(status, [failure])
    manual = docs.setdefault("manual_doc", {})
    if access == "public":
        manual["security"] = []


def schema_name(schema: Any) -> str:
    """Name a schema in the document after its class and how it is narrowed."""
    instance: Any = schema() if inspect.isclass(schema) else schema
    name = type(instance).__name__.removesuffix("Schema")
    return name + ("Patch" if instance.partial else getattr(instance, "suffix", ""))


def name_operations(spec: Mapping[str, Any]) -> None:
    """Give each operation a stable, unique name for generated clients: GET /api/gpus/{id} is `get_gpus_id`."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict) and method != "parameters":
                words = re.findall(r"\w+", path.removeprefix("/api").replace("-", "_").replace(".", "_"))
                operation["operationId"] = "_".join((method, *words))
