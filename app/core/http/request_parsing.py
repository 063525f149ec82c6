"""Strict request parsing: unreadable bodies and undeclared parameters are refused."""

from typing import Any, cast

from flask import Request, request
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest

from app.core.errors import ApiError, Invalid, UnsupportedMediaType, dotted


class BadParameter(ApiError):
    status, reason, message = 400, "invalid_parameter", "A query parameter is not valid."


class UnknownParameter(ApiError):
    status, reason, message = 400, "unknown_parameter", "There is no such parameter here."


class BadJson(ApiError):
    status, reason, message = 400, "bad_json", "The body is not valid JSON."


class Parser(FlaskParser):
    """webargs' parser that refuses undeclared parameters: a typo must not be ignored."""

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
        raise BadJson() from None


def read_form(schema: Schema) -> dict[str, Any]:
    """The text fields of a form, validated; raises Invalid."""
    try:
        return cast("dict[str, Any]", schema.load(request.form.to_dict()))
    except ValidationError as error:
        raise Invalid(errors=dotted(error.messages)) from None
