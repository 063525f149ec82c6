"""The body that every answer shares: {"code", "message", "data"} and, for lists, "pagination"."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any, Self, cast

import orjson
from flask import Flask, Response, request
from flask.json.provider import JSONProvider
from marshmallow import Schema, fields

from app.core.errors import ApiError, dotted
from app.core.messages import Message, localize
from app.core.request_context import language_of_request
from app.core.values import as_json

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Pagination:
    """The pagination block of a list; `total` and `pages` are None where the client asked for no count.

    `at_least`: the count ended at `total`, but there are more, so the number of pages is not known. `left_out`: what
    was not searched. `next_cursor`: where the list goes on by cursor, on pages far from the beginning.
    """

    page: int
    page_size: int
    total: int | None
    at_least: bool = False
    left_out: tuple[str, ...] = ()
    next_cursor: str | None = None

    @property
    def pages(self) -> int | None:
        return None if self.total is None or self.at_least else -(-self.total // self.page_size)

    def as_dict(self) -> dict[str, Any]:
        members = {**_members(self), "pages": self.pages}
        if self.next_cursor is None:
            del members["next_cursor"]
        return members


@dataclass(frozen=True, slots=True)
class CursorPage:
    """The pagination block of a list read by cursor; a cursor is None at the end of its direction."""

    page_size: int
    total: int | None
    next_cursor: str | None
    prev_cursor: str | None
    at_least: bool = False
    left_out: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return _members(self)


def _members(block: Pagination | CursorPage) -> dict[str, Any]:
    """The members of the block; `at_least` and `left_out` only where they are set."""
    members = {field.name: getattr(block, field.name) for field in fields_of(block)}
    remarks = {name: members.pop(name) for name in ("at_least", "left_out")}
    return {**members, **{name: remark for name, remark in remarks.items() if remark}}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a longer list: JSON-ready objects."""

    items: list[Any]
    pagination: Pagination | CursorPage


def respond(answer: Any, status: int) -> Response:
    """The response to what a view returns: JSON-ready data, a `Page`, a cached body, or a response of its own."""
    if isinstance(answer, TaggedBody):
        return conditional(json_response(answer.content), answer.etag)
    if isinstance(answer, Page):
        answer = success(answer.items, status, pagination=answer.pagination)
    elif not isinstance(answer, Response):
        answer = success(answer, status)
    return conditional(answer)


def success(
    data: Any,
    status: int = 200,
    *,
    pagination: Pagination | CursorPage | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Envelope JSON-ready data. The schemas document the answers; the test suite holds each to its schema."""
    return json_response(dumps(success_body(data, pagination)), status, headers)


def success_body(data: Any, pagination: Pagination | CursorPage | None = None) -> dict[str, Any]:
    body = {"code": 0, "message": "success", "data": data}
    if pagination is not None:
        body["pagination"] = pagination.as_dict()
    return body


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, mimetype="application/json")


@dataclass(frozen=True, slots=True)
class TaggedBody:
    """A JSON body with the hash of it, which is computed once where the body is cached."""

    content: bytes
    etag: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        return cls(content, f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"')

    def __len__(self) -> int:
        return len(self.content)


def conditional(response: Response, etag: str | None = None) -> Response:
    """Give the answer to a GET a hash of its body as ETag, unless it has one; 304 to a client that has the same body.

    It is the body that is compared: whatever the answer depends on, a client is never told that nothing has changed
    when something visible has. `etag` is that hash, if it is known already.
    """
    environ = request.environ
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or response.status_code != 200:
        return response
    if etag or "ETag" not in response.headers:
        response.headers["ETag"] = etag or TaggedBody.of(response.get_data()).etag
        if "HTTP_IF_NONE_MATCH" in environ:
            return cast(Response, response.make_conditional(request))
    return response


def failure(error: ApiError) -> Response:
    return localized(failure_body(error), error.status, headers=error.headers)


def failure_body(error: ApiError) -> dict[str, Any]:
    """The body of an error, whose messages are not in any language yet."""
    details: dict[str, Any] = {"reason": error.reason, **error.facts}
    if isinstance(error.message, Message) and error.message.parameters:
        details["parameters"] = error.message.parameters
    if error.errors:
        details["errors"] = errors = dotted(error.errors)
        details["problems"] = {name: [_problem(text) for text in texts] for name, texts in errors.items()}
    return {"code": error.status, "message": error.message, "data": details}


def _problem(text: str) -> dict[str, Any]:
    if not isinstance(text, Message):
        return {"rule": "invalid", "message": text}
    return {**text.parameters, "rule": text.rule, "message": text}


def localized(body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with messages, in the language in which the client reads them."""
    language = language_of_request()
    response = json_response(dumps(localize(body, language)), status, headers)
    response.content_language.add(language)
    response.vary.add("Accept-Language")
    return response


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=as_json, option=JSON_OPTIONS)


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson: strict about NaN, surrogates, encoding and depth."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(dumps(self._prepare_response_obj(args, kwargs)), mimetype="application/json")


def init_app(app: Flask) -> None:
    app.json = OrjsonProvider(app)


class PaginationSchema(Schema):
    """By page (`page`, `pages`), or by cursor where the request has one (`next_cursor`, `prev_cursor`)."""

    page = fields.Integer()
    page_size = fields.Integer(required=True)
    total = fields.Integer(required=True, allow_none=True)
    pages = fields.Integer(allow_none=True)
    at_least = fields.Boolean(
        metadata={
            "description": "Only there, and true, where counting ended at `total` and there are more: `pages` is null."
        }
    )
    left_out = fields.List(
        fields.String(),
        metadata={
            "description": "Only there where records of the audit log were not searched: their actions. `field`, "
            "`from` and `to` search creations only where `action=create` asks for them."
        },
    )
    next_cursor = fields.String(allow_none=True)
    prev_cursor = fields.String(allow_none=True)


class EnvelopeSchema(Schema):
    code = fields.Integer(required=True, metadata={"enum": [0]})
    message = fields.String(required=True, metadata={"example": "success"})


@functools.cache
def envelope_of(schema: type[Schema] | None, *, many: bool = False, nullable: bool = False) -> type[Schema]:
    """The envelope's class around a schema (`None`: the data are null); `many` adds the pagination block."""
    if schema is None:
        return type("EmptyEnvelope", (EnvelopeSchema,), {"data": fields.Raw(required=True, allow_none=True)})
    name = schema.__name__.removesuffix("Schema")
    # The schemas of bodies and of answers have different required fields.
    if hasattr(schema, "answer"):
        schema = cast("type[Schema]", schema.answer())
    if not many:
        data = fields.Nested(schema, required=True, allow_none=nullable)
        return type(f"{name}Envelope", (EnvelopeSchema,), {"data": data})
    members = {
        "data": fields.List(fields.Nested(schema), required=True),
        "pagination": fields.Nested(PaginationSchema, required=True),
    }
    return type(f"{name}PageEnvelope", (EnvelopeSchema,), members)
