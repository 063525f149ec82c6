"""The HTTP edge: the only module that knows flask-smorest.

A blueprint's route is run as one transaction, authorised, validated, answered in the envelope and documented. Request
parsing is strict: unreadable bodies and undeclared parameters are refused.
"""

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

from flask import Flask, Request, Response, request
from flask_smorest import Api as SmorestApi
from flask_smorest.blueprint import Blueprint as SmorestBlueprint
from flask_smorest.fields import Upload
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest as UnreadableBody
from werkzeug.exceptions import HTTPException

from app.core.db.unit_of_work import reading, transactional, writing
from app.core.error_catalog import document_reasons
from app.core.errors import BadJson, Invalid, UnsupportedMediaType, dotted, unknown_parameter
from app.core.http import dry_run, error_handlers, idempotency
from app.core.http.access import SAFE_METHODS, access_of
from app.core.http.application import refuse_misread
from app.core.http.deprecation import announce
from app.core.http.envelope import respond
from app.core.http.openapi.envelopes import envelope_of
from app.core.http.openapi.failures import FailureSchema, stale_of
from app.core.http.openapi.operations import (
    DOCUMENT,
    FAILURES,
    Parameter,
    View,
    document_failures,
    document_not_modified,
    document_parameter,
    document_reason,
    document_replay,
    documents_query,
    finish_operations,
    headers_of,
    name_operation,
    share_components,
)
from app.core.http.openapi.schemas import Plugin
from app.core.messages import tr
from app.core.request_context import REASON, current_application, current_request


class Parser(FlaskParser):
    """webargs' parser that refuses undeclared parameters: a typo must not be ignored."""

    DEFAULT_UNKNOWN_BY_LOCATION = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
        "form": RAISE,
    }

    def parse(self, argmap: Any, req: Request | None = None, *, location: str | None = None, **options: Any) -> Any:
        """The arguments of a request; those of an empty query string are the same for all requests."""
        own = _own_query(req or current_request()) if location == "query" else None
        if own is not None and not own and (known := _defaults(argmap)) is not None:
            return dict(known)
        return super().parse(argmap, req, location=location, **options)

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        return self._makeproxy(_own_query(req), schema)

    def handle_error(self, error: ValidationError, req: Request, schema: Schema, **options: Any) -> NoReturn:
        """Raise the errors of a request, whose names may be those of other parameters than the view's."""
        try:
            super().handle_error(error, req, schema, **options)
        except HTTPException as refusal:
            refusal.data["known"] = (*schema.fields, *_shared_parameters(req))  # type: ignore[attr-defined]
            raise

    def load_json(self, req: Request, schema: Schema) -> Any:
        if not req.is_json:
            raise UnsupportedMediaType(tr("Send the body as application/json."))
        try:
            return req.get_json()
        except (UnreadableBody, ValueError):
            raise BadJson() from None


class Blueprint(SmorestBlueprint):
    """Routes that declare their access and answer in the envelope, each run as one transaction."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shared_parameters: dict[str, dict[str, Any]] = {}
        self.shared_schemas: dict[str, dict[str, Any]] = {}
        self.titles: Sequence[str] = ()
        """What people call the objects of a resource: the English plural first, then names in other languages."""

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: View | None = None, **options: Any
    ) -> None:
        access = view_func and access_of(view_func)
        if view_func is None or access is None:
            raise TypeError(f"{self.name}{rule} declares no access: use @requires(role) or @public.")
        methods = options.get("methods", ["GET"])
        view = transactional(view_func, reading if SAFE_METHODS.issuperset(methods) else writing)
        if "POST" in methods:
            view = idempotency.once(view_func, access)
            document_replay(view)
        view.takes_query = documents_query(view)  # type: ignore[attr-defined]
        view.takes_dry_run = takes_dry_run = dry_run.is_taken_by(view_func, methods)  # type: ignore[attr-defined]
        if takes_dry_run:
            document_parameter(view, "DryRun")
        document_parameter(view, "Language")
        if not SAFE_METHODS.issuperset(methods):
            document_reason(view)
        elif getattr(view, "is_enveloped", False):
            document_not_modified(view)
        document_failures(view, rule, access, methods)
        name_operation(view)
        super().add_url_rule(rule, endpoint, announce(view), **options)

    def arguments(self, schema: type[Schema] | Schema, **options: Any) -> Callable[[View], View]:
        """Parse what comes in by one instance of the schema for all requests.

        Of a class webargs makes an instance for each, with copies of all fields: 45 of the 470 µs of a single object,
        and more of a write.
        """
        instance = schema() if isinstance(schema, type) else schema
        return cast(Callable[[View], View], super().arguments(instance, **options))

    def response(
        self,
        status_code: int,
        schema: type[Schema] | None = None,
        *,
        many: bool = False,
        nullable: bool = False,
        headers: Iterable[str] = (),
        **options: Any,
    ) -> Callable[[View], View]:
        """Envelope what the view returns, as `respond` does; `many` for a `Page`.

        `headers` names further headers of the answer, besides those of every answer.
        """
        envelope = envelope_of(schema, many=many, nullable=nullable)
        names = (*headers, *(["ETag"] if hasattr(schema, "answer") and not many else []))  # its version
        document = super().response(status_code, envelope, headers=headers_of(*names), **options)

        def decorate(view: View) -> View:
            def enveloped(*args: Any, **kwargs: Any) -> Response:
                if not current_request().query_string:
                    return respond(view(*args, **kwargs), status_code)
                _refuse_unknown_query()
                return dry_run.perform(lambda: respond(view(*args, **kwargs), status_code))

            enveloped.__dict__.update(view.__dict__, is_enveloped=True)
            enveloped.__name__, enveloped.__doc__ = view.__name__, view.__doc__
            return cast(View, document(enveloped))

        return decorate

    def parameter(self, parameter: Parameter) -> Callable[[View], View]:
        """Document a parameter beside the arguments; `doc(parameters=…)` would stand in their place."""

        def decorate(view: View) -> View:
            document_parameter(view, parameter)
            return view

        return decorate

    def multipart(self, schema: type[Schema]) -> Callable[[View], View]:
        """Document a multipart body; the view reads its form with `read_form` and its files itself."""
        content = {"multipart/form-data": {"schema": schema, "encoding": {}}}
        return cast(Callable[[View], View], self.doc(requestBody={"required": True, "content": content}))

    def not_modified(self, view: View) -> View:
        """Document that a view whose answer has no envelope answers 304 to a matching If-None-Match."""
        document_not_modified(view)
        return view

    def stale_response(self, schema: type[Schema]) -> Callable[[View], View]:
        """Document that a write with an If-Match out of date is answered with the object as it is now."""
        text = "The object has changed since you read it."
        document = self.alt_response(412, schema=stale_of(schema), description=text)
        return cast(Callable[[View], View], document)

    def file_response(self, content_type: str, description: str) -> Callable[[View], View]:
        """Document a view that answers with a file instead of an envelope."""
        schema = {"type": "string", "format": "binary"}
        return cast(
            Callable[[View], View],
            super().response(
                200,
                schema,
                content_type=content_type,
                description=description,
                headers=headers_of("Content-Disposition"),
            ),
        )


@functools.cache
def _defaults(schema: Schema) -> Mapping[str, Any] | None:
    """What a schema loads from an empty query; None if each request loads its own.

    That is where it is an error, where a default is computed, and where a view could change a value.
    """
    if any(callable(field.load_default) for field in schema.fields.values()):
        return None
    try:
        loaded: dict[str, Any] = schema.load({})
        hash(tuple(loaded.values()))
    except (ValidationError, TypeError):
        return None
    return loaded


def _refuse_unknown_query() -> None:
    """Refuse parameters of a route that takes none: a typo of dry_run must not execute the request."""
    received = current_request()
    view: Any = current_application().view_functions[cast(str, received.endpoint)]
    if not view.takes_query and (sent := _own_query(received)):
        raise unknown_parameter(next(iter(sent)), _shared_parameters(received))


def _own_query(req: Request) -> MultiDict[str, str]:
    """The query parameters that a view declares, without those of all writes."""
    shared = _shared_parameters(req) if req.query_string else ()
    if not shared or not any(name in req.args for name in shared):
        return req.args
    return MultiDict((name, value) for name, value in req.args.items(multi=True) if name not in shared)


def _shared_parameters(req: Request) -> Sequence[str]:
    """The query parameters that belong to no view, but to the transaction and the audit records of a write."""
    if req.method in SAFE_METHODS:
        return ()
    view: Any = current_application().view_functions[cast(str, req.endpoint)]
    return (REASON, dry_run.PARAMETER) if view.takes_dry_run else (REASON,)


def read_form(schema: Schema) -> dict[str, Any]:
    """The text fields of a form, validated; raises Invalid. A field that is left empty is as if it were not sent."""
    sent = {name: text for name, text in request.form.to_dict().items() if text or name not in schema.fields}
    try:
        return cast("dict[str, Any]", schema.load(sent))
    except ValidationError as error:
        raise Invalid(errors=dotted(error.messages)) from None


class Api(SmorestApi):
    """The API and its OpenAPI document."""

    ERROR_SCHEMA = FailureSchema
    # Every failure is documented under its own status.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_pagination_header(self) -> None:
        """Does nothing: pagination is part of the body."""

    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        components = self.spec.components
        # Several blueprints may bring the same: what all lists share, and what list and export of a resource do.
        for name, parameter in blueprint.shared_parameters.items():
            if name not in components.parameters:
                components.parameter(name, parameter["in"], dict(parameter))
        for name, schema in blueprint.shared_schemas.items():
            if name not in components.schemas:
                components.schema(name, schema)
        super().register_blueprint(blueprint, **options)

    def _register_error_handlers(self) -> None:
        error_handlers.register(self._app)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of an application."""
    spec: dict[str, Any] = copy.deepcopy(app.extensions["api"].spec.to_dict())
    finish_operations(spec)
    document_reasons(spec["components"], FAILURES)
    return spec


def init_app(app: Flask) -> Api:
    """Give an application its API, on which features register their blueprints."""
    app.before_request(refuse_misread)
    app.config.update(API_TITLE="IT asset management", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    api = app.extensions["api"] = Api(app, spec_kwargs={"marshmallow_plugin": Plugin(), **DOCUMENT})
    share_components(api.spec.components)
    return api


__all__ = ["Blueprint", "Upload", "document", "init_app", "read_form"]
