"""The HTTP edge: the only module that knows flask-smorest.

A blueprint's route is run as one transaction, authorised, validated, answered in the envelope and documented.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import structlog
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Request, Response, current_app, request
from flask_smorest import Api as SmorestApi
from flask_smorest.blueprint import Blueprint as SmorestBlueprint
from flask_smorest.fields import Upload
from marshmallow import RAISE, Schema, ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing import IntegerConverter

from app.core import audit, idempotency, limits
from app.core.database import begin_writing, commit_now, db, transactional
from app.core.envelope import FailureSchema, Page, dumps, envelope_of, failure, success
from app.core.errors import (
    ApiError,
    Forbidden,
    Invalid,
    Unavailable,
    UnsupportedMediaType,
    dotted,
    from_database,
    from_http,
)
from app.core.security import Access, access_of, public

View = Callable[..., Any]

log = structlog.get_logger()

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


class Parser(FlaskParser):
    """Refuses what nobody declared: a misspelt parameter must not be dropped in silence."""

    DEFAULT_UNKNOWN_BY_LOCATION = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
        "form": RAISE,
    }

    def load_json(self, req: Request, schema: Schema) -> Any:
        return read_json(req)


def read_json(req: Request) -> Any:
    """The request's JSON body; raises UnsupportedMediaType or BadRequest."""
    if not req.is_json:
        raise UnsupportedMediaType("Send the body as application/json.")
    try:
        return req.get_json()
    except (BadRequest, ValueError):
        raise ApiBadJson() from None


def read_form(schema: Schema) -> dict[str, Any]:
    """The text fields of a form, validated; raises Invalid."""
    try:
        return cast("dict[str, Any]", schema.load(request.form.to_dict()))
    except ValidationError as error:
        raise Invalid(errors=dotted(error.messages)) from None


class BadParameter(ApiError):
    status, reason, message = 400, "invalid_parameter", "A query parameter is not valid."


class UnknownParameter(ApiError):
    status, reason, message = 400, "unknown_parameter", "There is no such parameter here."


class ApiBadJson(ApiError):
    status, reason, message = 400, "bad_json", "The body is not valid JSON."


class Blueprint(SmorestBlueprint):
    """Routes that declare their access and answer in the envelope, each run as one transaction."""

    ARGUMENTS_PARSER = Parser()

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: View | None = None, **options: Any
    ) -> None:
        access = view_func and access_of(view_func)
        if view_func is None or access is None:
            raise TypeError(f"{self.name}{rule} declares no access: use @requires(role) or @public.")
        view = transactional(view_func)
        if "POST" in options.get("methods", ()):
            view = idempotency.once(transactional(idempotency.keeping(view_func)), access)
            _document_header(view, idempotency.PARAMETER)
        view.takes_query = _documents_query(view)  # type: ignore[attr-defined]
        _document_failures(view, rule, access, options.get("methods", ["GET"]))
        super().add_url_rule(rule, endpoint, view, **options)

    def response(
        self,
        status_code: int,
        schema: type[Schema] | None = None,
        *,
        many: bool = False,
        nullable: bool = False,
        selected: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Envelope what the view returns: JSON-ready data, or a `Page` of it where there are many.

        `selected`: of some fields only, where the client says which.
        """
        envelope = envelope_of(schema, many=many, nullable=nullable, selected=selected)
        document = super().response(status_code, envelope, headers=_header_docs(headers), **options)

        def decorate(view: View) -> View:
            def enveloped(*args: Any, **kwargs: Any) -> Response:
                _refuse_unknown_query()
                answer = view(*args, **kwargs)
                if isinstance(answer, Response):
                    return answer
                if isinstance(answer, Page):
                    return success(answer.items, status_code, pagination=answer.pagination)
                return success(answer, status_code)

            enveloped.__dict__.update(view.__dict__)
            enveloped.__name__, enveloped.__doc__ = view.__name__, view.__doc__
            return cast(View, document(enveloped))

        return decorate

    def header(self, parameter: Mapping[str, Any]) -> Callable[[View], View]:
        """Document a header beside the arguments; `doc(parameters=…)` would stand in their place."""

        def decorate(view: View) -> View:
            _document_header(view, parameter)
            return view

        return decorate

    def multipart(self, schema: type[Schema]) -> Callable[[View], View]:
        """Document a multipart body; the view reads its form with `read_form` and its files itself."""
        content = {"multipart/form-data": {"schema": schema, "encoding": {}}}
        return cast(Callable[[View], View], self.doc(requestBody={"required": True, "content": content}))

    def not_modified(self, view: View) -> View:
        """Document that a view answers 304, without a body, to a matching If-None-Match."""
        return cast(View, self.alt_response(304, description="Nothing has changed.", success=True)(view))

    def file_response(self, content_type: str, description: str) -> Callable[[View], View]:
        """Document a view that answers with a file instead of an envelope."""
        schema = {"type": "string", "format": "binary"}
        return cast(
            Callable[[View], View],
            super().response(200, schema, content_type=content_type, description=description),
        )


def _document_header(view: View, parameter: Mapping[str, Any]) -> None:
    docs: dict[str, Any] = view.__dict__.setdefault("_apidoc", {})
    manual = docs.get("manual_doc", {})
    # Parameters that were documented by hand stand in the place of all others.
    place = manual if "parameters" in manual else docs.setdefault("arguments", {})
    place.setdefault("parameters", []).append(dict(parameter))


def _header_docs(headers: Mapping[str, str] | None) -> dict[str, Any] | None:
    if headers is None:
        return None
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def _documents_query(view: View) -> bool:
    """Whether a view says that it takes query parameters."""
    docs: dict[str, Any] = view.__dict__.get("_apidoc", {})
    declared = (
        *docs.get("arguments", {}).get("parameters", ()),
        *docs.get("manual_doc", {}).get("parameters", ()),
    )
    return any(item["in"] == "query" for item in declared)


def _refuse_unknown_query() -> None:
    """Refuse a parameter of a route that takes none: it might be a misspelt wish to only try."""
    view: Any = current_app.view_functions[cast(str, request.endpoint)]
    if request.args and not view.takes_query:
        name = next(iter(request.args))
        raise UnknownParameter(f"There is no parameter {name[:100]}.", did_you_mean=[])


def _document_failures(view: View, rule: str, access: Access, methods: list[str]) -> None:
    """Add to a route's documentation the failures that its shape makes possible."""
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
            failure["headers"] = _header_docs({"Retry-After": "Seconds to wait.", **limits.HEADERS})
        responses.setdefault(status, [failure])
    manual = docs.setdefault("manual_doc", {})
    if access == "public":
        manual["security"] = []


class Api(SmorestApi):
    """The API and its OpenAPI document."""

    ERROR_SCHEMA = FailureSchema
    # Every failure that there is has its status.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_pagination_header(self) -> None:
        """Nothing: our pages stand in the body."""

    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        super().register_blueprint(blueprint, **options)

    def _register_error_handlers(self) -> None:
        for kind, translate in (
            (ApiError, lambda error: error),
            (HTTPException, from_http),
            (DBAPIError, _from_database),
            (PoolTimeout, lambda _: Unavailable()),
            (Exception, _from_mistake),
        ):
            self._app.register_error_handler(kind, _answer_with(translate))


def _answer_with(translate: Callable[[Any], ApiError]) -> Callable[[Any], Response]:
    def answer(error: Any) -> Response:
        translated = translate(error)
        if isinstance(translated, Forbidden):
            translated = _record_denied(translated)
        return failure(translated)

    return answer


def _from_database(error: DBAPIError) -> ApiError:
    translated = from_database(error)
    if translated.status >= 500:
        log.error("database_error", error=str(error.orig), status=translated.status)
    return translated


def _from_mistake(error: Exception) -> ApiError:
    log.error("internal_error", error=repr(error), exc_info=error)
    return ApiError()


def _record_denied(error: Forbidden) -> ApiError:
    """A refusal is recorded in a transaction of its own, because the request's has been rolled back."""
    try:
        begin_writing()
        kind = (request.blueprint or "").replace("-", "_")
        found = next((value for value in (request.view_args or {}).values() if isinstance(value, int)), None)
        audit.record("denied", kind, found, f"{request.method} {request.path}")
        commit_now()
    except DBAPIError as failed:
        db.session.rollback()
        return from_database(failed)
    return error


def _schema_name(schema: Any) -> str:
    """Name a schema in the document after its class and how it is narrowed."""
    instance: Any = schema() if inspect.isclass(schema) else schema
    name = type(instance).__name__.removesuffix("Schema")
    return name + ("Patch" if instance.partial else getattr(instance, "suffix", ""))


def _operation_ids(spec: Mapping[str, Any]) -> None:
    """Give each operation a stable, unique name for generated clients: GET /api/gpus/{id} is `get_gpus_id`."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict) and method != "parameters":
                words = re.findall(r"\w+", path.removeprefix("/api").replace("-", "_").replace(".", "_"))
                operation["operationId"] = "_".join((method, *words))


api = Api(
    spec_kwargs={
        "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name),
        "info": {"description": "Who holds which server, container, service, GPU and asset; every change provable."},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearer": []}],
    }
)


def document() -> dict[str, Any]:
    """The OpenAPI document of the application."""
    spec: dict[str, Any] = api.spec.to_dict()
    _operation_ids(spec)
    return spec


@public
def serve_document() -> Response:
    """The OpenAPI document, as `openapi.json` holds it."""
    return Response(dumps(document()), mimetype="application/json")


def _refuse_bad_encoding() -> None:
    """Refuse a query string that is no UTF-8: werkzeug would leave its escapes in the text."""
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise BadParameter("The query string is not valid UTF-8.") from None


class Identity(IntegerConverter):
    """An `int` in a path, as long as it surely has 64 bits: a longer one names nothing."""

    regex = r"\d{1,18}"


def init_app(app: Flask) -> None:
    app.url_map.converters["int"] = Identity
    app.before_request(_refuse_bad_encoding)
    app.config.update(API_TITLE="IT asset management", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    api.init_app(app)
    app.add_url_rule("/api/openapi.json", "openapi", serve_document)


__all__ = ["Blueprint", "Upload", "api", "document", "init_app", "read_json"]
