"""Operations in the OpenAPI document, and what they share: parameters, headers, failures, names."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from apispec.core import Components

from app.core.cache.positions import HEADER as POSITION
from app.core.http.access import Access, Role
from app.core.http.dry_run import PARAMETER as DRY_RUN
from app.core.http.idempotency import REPLAYED
from app.core.http.limits import rate_limiter
from app.core.http.openapi.failures import FailureSchema
from app.core.http.session_cookies import SECURITY_SCHEMES
from app.core.messages import LANGUAGES
from app.core.request_context import REASON, REASON_HEADER, REASON_LENGTH

JSON = "application/json"
View = Callable[..., Any]
Parameter = Mapping[str, Any] | str
"""A parameter object of OpenAPI, or the name of a shared one."""

DOCUMENT: Mapping[str, Any] = {
    "info": {
        "description": "Who holds which server, container, service, GPU and asset; every change provable.",
        "contact": {"name": "The administrators of this installation"},
    },
    "servers": [{"url": "/", "description": "The server that this document is read from."}],
    "components": {"securitySchemes": SECURITY_SCHEMES},
    "security": [{"bearer": []}, {"cookie": []}],
}
"""The head of the document."""
_FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "Unreadable JSON, or an unknown or ill-typed query parameter."),
    401: ("Unauthorized", "No valid token."),
    403: ("Forbidden", "Signed in, but not allowed."),
    404: ("NotFound", "No such object."),
    409: ("Conflict", "A conflict with stored data."),
    412: ("PreconditionFailed", "If-Match does not match; `data.current` is the object as it is now."),
    413: ("TooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "Wrong content type."),
    422: ("Invalid", "Some fields are invalid; every bad one is named in `data.errors`."),
    428: ("PreconditionRequired", "A bulk write by filter without `expected_count`."),
    429: ("TooManyRequests", "Too many requests: by address where somebody signs in, by token elsewhere."),
    503: ("Unavailable", "A dependency is away; try again after Retry-After seconds."),
}
FAILURES: Mapping[int, str] = {status: name for status, (name, _) in _FAILURES.items()}
"""The shared response of each status."""
_HEADERS: Mapping[str, str] = {
    "Content-Disposition": "The name of the file.",
    "Content-Language": "The language of the messages.",
    "ETag": "The version of the answer, for If-Match and If-None-Match.",
    REPLAYED: "`true`: the stored answer to an earlier request with this Idempotency-Key.",
    "Location": "The URL of the new object.",
    "Retry-After": "Seconds to wait, where waiting helps.",
    "Vary": "The request headers that the answer depends on.",
    "Set-Cookie": "The cookies of the session, which only the browser reads.",
    "WWW-Authenticate": "How to sign in.",
    "X-Request-ID": "Finds the request in the logs and in the audit log.",
    POSITION: "With a standby: what a write has reached. Sent back, it is seen whichever server answers.",
    **rate_limiter.HEADERS,
}
LOCALIZED = ("Content-Language", "Vary")
"""The headers of an answer with messages."""
_FAILURE_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    **dict.fromkeys((409, 429, 503), ("Retry-After",)),
}
_SHARED_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "Language": {
        "in": "query",
        "name": "lang",
        "schema": {"$ref": "#/components/schemas/Language"},
        "description": "The language of messages; else what the header `Accept-Language` asks for.",
    },
    "Reason": {
        "in": "query",
        "name": REASON,
        "schema": {"type": "string", "minLength": 1, "maxLength": REASON_LENGTH},
        "description": "Why, for the audit log.",
    },
    "AuditReason": {
        "in": "header",
        "name": REASON_HEADER,
        "schema": {"type": "string", "minLength": 1},
        "description": "The same in a header, where anything but ASCII is percent-encoded UTF-8 (`Ger%C3%A4t`) or an "
        f"`ext-value` of RFC 8187 (`UTF-8''Ger%C3%A4t`); at most {REASON_LENGTH} characters when decoded.",
    },
    "DryRun": {
        "in": "query",
        "name": DRY_RUN,
        "schema": {"type": "boolean"},
        "description": "Check and answer as if it were done, and store nothing. Default: `false`.",
    },
    "IdempotencyKey": {
        "in": "header",
        "name": "Idempotency-Key",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The first answer is kept for 24 hours, and sent again (with `Idempotency-Replayed: true`) to "
        "the same request. Another request with the key is a 422, and a 409 while the first is still running.",
    },
    "IfMatch": {
        "in": "header",
        "name": "If-Match",
        "schema": {"type": "string", "example": '"3"'},
        "description": "The ETag that you read; 412 if the object has changed since.",
    },
    "IfNoneMatch": {
        "in": "header",
        "name": "If-None-Match",
        "schema": {"type": "string"},
        "description": "The ETag of the answer that you have; 304 if nothing has changed.",
    },
}


def share_components(components: Components) -> None:
    """Register what many operations share; an operation refers to it by name."""
    components.schema("Language", {"type": "string", "enum": list(LANGUAGES)})
    for name, text in _HEADERS.items():
        components.header(name, {"description": text, "schema": {"type": "string"}})
    for name, parameter in _SHARED_PARAMETERS.items():
        components.parameter(name, parameter["in"], dict(parameter))
    not_modified = {
        "description": "Nothing has changed; there is no body.",
        "headers": headers_of("ETag", "Retry-After", "Vary"),
    }
    components.response("NotModified", not_modified)
    for status, (name, text) in _FAILURES.items():
        headers = headers_of(*_headers_of_failure(status), REPLAYED)
        response = {"description": text, "headers": headers, "content": {JSON: {"schema": FailureSchema}}}
        components.response(name, response)


def _headers_of_failure(status: int) -> tuple[str, ...]:
    return (*_FAILURE_HEADERS.get(status, ()), *LOCALIZED) if status >= 400 else ()


def headers_of(*names: str) -> dict[str, str]:
    """The headers of a response in the document, beside those of every answer. They refer to shared ones."""
    return {name: name for name in names}


def file_responses(description: str, content: Mapping[str, Any], *headers: str) -> dict[int, dict[str, Any]]:
    """The responses, for `doc`, of a view that answers with a file of one of several types."""
    return {
        200: {
            "description": description,
            "content": dict(content),
            "headers": headers_of("Content-Disposition", *headers),
        }
    }


def query_parameter(name: str, schema: Mapping[str, Any], description: str, **style: Any) -> dict[str, Any]:
    """A parameter of the query that may be left out."""
    return {"in": "query", "name": name, "schema": schema, "description": description, **style}


def document_parameter(view: View, parameter: Parameter) -> None:
    """Add a parameter beside the arguments; `doc(parameters=…)` would stand in their place."""
    docs: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
    manual = docs.get("manual_doc", {})
    # Parameters documented by hand replace all others.
    target = manual if "parameters" in manual else docs.setdefault("arguments", {})
    target.setdefault("parameters", []).append(parameter if isinstance(parameter, str) else dict(parameter))


def document_reason(view: View) -> None:
    """Document that a write may say why."""
    for parameter in ("Reason", "AuditReason"):
        document_parameter(view, parameter)


def documents_query(view: View) -> bool:
    """Whether a view documents query parameters."""
    docs: dict[str, Any] = view.__dict__.get("_apidoc", {})
    declared = (
        *docs.get("arguments", {}).get("parameters", ()),
        *docs.get("manual_doc", {}).get("parameters", ()),
    )
    return any(_is_of_query(item) for item in declared)


def _is_of_query(parameter: Parameter) -> bool:
    if isinstance(parameter, str):
        # A name that is not among the shared parameters is a parameter of lists.
        parameter = _SHARED_PARAMETERS.get(parameter, {"in": "query"})
    return bool(parameter["in"] == "query")


def document_replay(view: View) -> None:
    """Document that a POST may have a key, and that its answer says if it is the stored one."""
    document_parameter(view, "IdempotencyKey")
    docs: dict[str, Any] = view.__dict__["_apidoc"]
    for status in docs.get("success_status_codes", ()):
        for response in docs["response"]["responses"][status]:
            response["headers"] = {**(response.get("headers") or {}), REPLAYED: REPLAYED}


def document_not_modified(view: View) -> None:
    """Document that a view answers 304, without a body, to a matching If-None-Match."""
    document_parameter(view, "IfNoneMatch")
    docs: dict[str, Any] = view.__dict__["_apidoc"]
    responses: dict[Any, Any] = docs.setdefault("response", {}).setdefault("responses", {})
    for response in responses.get(200, ()):
        response["headers"] = {**(response.get("headers") or {}), "ETag": "ETag"}
    responses[304] = ["NotModified"]


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
        responses.setdefault(status, [_FAILURES[status][0]])
    manual = docs.setdefault("manual_doc", {})
    manual["x-access"] = access.value if isinstance(access, Role) else access
    if access == "public":
        manual["security"] = []


def camel_case(*words: str) -> str:
    """A name for generated clients: `list`, `audit_logs` is `listAuditLogs`."""
    parts: list[str] = re.findall(r"[^\W_]+", " ".join(words))
    first, *others = parts
    return first + "".join(word[0].upper() + word[1:] for word in others)


def name_operation(view: View) -> None:
    """Name the operation of a view after its function, unless its document has a name: `assign_gpu` is `assignGpu`."""
    docs: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
    docs.setdefault("manual_doc", {}).setdefault("operationId", camel_case(view.__name__))


_HEADERS_OF_ALL = ("X-Request-ID", POSITION, *rate_limiter.HEADERS)
_WHO_MAY: Mapping[str, str] = {
    "public": "Needs no token.",
    "refresh": "Takes the refresh token.",
    Role.USER.value: "For everybody who is signed in.",
    Role.ADMIN.value: "For administrators.",
}


def finish_operations(spec: Mapping[str, Any]) -> None:
    """Complete a document: who may call an operation, headers of all answers, and names of PUTs that PATCH has too."""
    for response in spec["components"]["responses"].values():
        _add_headers(response, _HEADERS_OF_ALL)
    for operations in spec["paths"].values():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            who = _WHO_MAY[operation["x-access"]]
            operation["description"] = f"{operation.get('description') or operation['summary']} {who}"
            for status, response in operation["responses"].items():
                replayed = (REPLAYED,) if method == "post" and status >= "400" else ()
                _add_headers(response, (*_HEADERS_OF_ALL, *_headers_of_failure(int(status)), *replayed))
            if method == "put":
                operation["operationId"] = re.sub("^[a-z]+", "put", operation["operationId"])


def _add_headers(response: dict[str, Any], names: Iterable[str]) -> None:
    if "$ref" not in response:
        shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        response["headers"] = {**shared, **response.get("headers", {})}
