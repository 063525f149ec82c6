"""The errors of the API, and the translation of werkzeug's and webargs' errors."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app.core.library_messages import recognised
from app.core.messages import Message, tr

CHALLENGE = 'Bearer realm="itam"'

MAX_NAME = 100
"""Characters of a parameter's name that an answer repeats."""

Messages = Mapping[str, Any]
"""What is wrong with which field: {"port": ["Must be at most 65535."]}; nested fields are dotted."""


class ApiError(Exception):
    """A failure with an HTTP status, a stable slug and one plain sentence that is safe to show.

    `facts` are further members of the answer's `data` (the holder of a GPU, the current object).
    """

    status: ClassVar[int] = 500
    reason: str = "internal_error"
    other_reasons: ClassVar[tuple[str, ...]] = ()
    """Those that the raise site passes, where one class has several."""
    message: str = tr("An internal error occurred. It has been logged.")

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        errors: Messages | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        self.message = message or self.message
        self.reason = reason or self.reason
        self.errors = errors
        self.headers = dict(headers or {})
        self.facts = facts
        super().__init__(self.message)


class BadRequest(ApiError):
    status, reason, message = 400, "bad_request", tr("The request could not be understood.")


class ParameterError(BadRequest):
    """A query parameter that is refused: `errors` names it, as those of a body name their fields."""

    rule: ClassVar[str] = "invalid"

    def __init__(
        self,
        message: Message | None = None,
        *,
        parameter: str | None = None,
        did_you_mean: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if did_you_mean is not None:
            options["did_you_mean"] = did_you_mean
        super().__init__(message, **options)
        if parameter is not None:
            self.errors = {parameter[:MAX_NAME]: [_with_rule(message or self.message, self.rule, did_you_mean)]}

    def rename(self, parameter: str, did_you_mean: Sequence[str] | None = None) -> None:
        """Name the parameter, and the nearest names, by the path on which they are reached."""
        texts = [text for each in (self.errors or {}).values() for text in each]
        if did_you_mean is not None:
            self.facts = {**self.facts, "did_you_mean": did_you_mean}
            texts = [_with_rule(text, self.rule, did_you_mean) for text in texts]
        self.errors = {parameter[:MAX_NAME]: texts}


class BadParameter(ParameterError):
    reason, message = "invalid_parameter", tr("A query parameter is not valid.")


class UnknownParameter(ParameterError):
    rule = "unknown"
    reason, message = "unknown_parameter", tr("There is no such parameter here.")


class RepeatedParameter(ParameterError):
    rule = "repeated"
    reason, message = "repeated_parameter", tr("A query parameter may be given only once.")


class InvalidCursor(ParameterError):
    reason, message = "invalid_cursor", tr("This cursor is not one of ours.")


class BadHeader(BadRequest):
    reason, message = "invalid_header", tr("A header of the request is not valid.")


class BadJson(BadRequest):
    reason, message = "bad_json", tr("The body is not valid JSON.")


class Unauthorized(ApiError):
    """Tells the client in WWW-Authenticate how to authenticate (RFC 6750, section 3)."""

    status, reason, message = 401, "unauthorized", tr("Authentication is required.")

    def __init__(self, message: str | None = None, **options: Any) -> None:
        super().__init__(message, **options)
        has_refused_token = self.reason.startswith("token_") and self.reason != "token_missing"
        self.headers["WWW-Authenticate"] = CHALLENGE + (', error="invalid_token"' if has_refused_token else "")


class InvalidToken(Unauthorized):
    reason, message = "token_invalid", tr("The token is not valid.")


class ExpiredToken(Unauthorized):
    reason, message = "token_expired", tr("The token has expired.")


class RevokedToken(Unauthorized):
    reason, message = "token_revoked", tr("The token has been revoked.")


class Forbidden(ApiError):
    status, reason, message = 403, "forbidden", tr("You are not allowed to do this.")


class RoleNeeded(Forbidden):
    reason, message = "role", tr("Your role does not allow this.")


class NotOwner(Forbidden):
    reason, message = "not_owner", tr("Only its creator and administrators may change this object.")


class NotFound(ApiError):
    status, reason, message = 404, "not_found", tr("There is no such object.")


class NoSuchMethod(ApiError):
    status, reason, message = 405, "method_not_allowed", tr("This method is not allowed here.")


class Conflict(ApiError):
    status, reason, message = 409, "conflict", tr("The request conflicts with stored data.")


class Taken(Conflict):
    reason, message = "taken", tr("This value is already taken.")


class PreconditionFailed(ApiError):
    status, reason, message = 412, "version_mismatch", tr("The object has changed since you read it.")


class TooLarge(ApiError):
    status, reason, message = 413, "too_large", tr("The request body is too large.")


class UnsupportedMediaType(ApiError):
    status, reason, message = (
        415,
        "unsupported_media_type",
        tr("This content type is not accepted here."),
    )


class Invalid(ApiError):
    status, reason, message = 422, "invalid", tr("Some fields are invalid.")


class NotApplied(ApiError):
    """A valid item of an atomic bulk write that was rolled back because others are invalid."""

    status, reason, message = 424, "not_applied", tr("Nothing was stored, because other items are wrong.")


class PreconditionRequired(ApiError):
    status, reason, message = 428, "precondition_required", tr("Say what you expect to change.")


class TooManyRequests(ApiError):
    status, reason, message = 429, "too_many_requests", tr("Too many requests. Please wait a little.")


class Unavailable(ApiError):
    status, reason, message = (
        503,
        "unavailable",
        tr("The database is not available. Please try again shortly."),
    )

    def __init__(self, message: str | None = None, **options: Any) -> None:
        super().__init__(message, headers={"Retry-After": "2"}, **options)


class Locked(Unavailable):
    reason, message = "locked", tr("Somebody else is changing what this request needs. Please try again shortly.")


class TooSlow(Unavailable):
    reason, message = "too_slow", tr("The database needs too long for this request.")


_BY_STATUS: dict[int, type[ApiError]] = {kind.status: kind for kind in ApiError.__subclasses__()}


def error_of(status: int) -> type[ApiError]:
    """The general failure of a status."""
    return _BY_STATUS.get(status, ApiError)


def from_http(error: HTTPException) -> ApiError:
    """Translate what werkzeug and webargs raise."""
    status = error.code or 500
    kind = error_of(status)
    if kind is Invalid:
        messages = getattr(error, "data", {}).get("messages", {})
        if "query" in messages:
            errors = dotted(messages["query"])
            message = tr("Some query parameters are unknown or invalid.")
            strange = [name for name, texts in errors.items() if "Unknown field." in texts]
            if not strange:
                return BadParameter(message, errors=errors)
            valid_names = error.data["known"]  # type: ignore[attr-defined]
            close = {name: nearest_names(name, valid_names) for name in strange}
            for name in strange:
                errors[name] = [_with_rule(_no_parameter(name, close[name]), UnknownParameter.rule, close[name])]
            nearest = list(dict.fromkeys(chain.from_iterable(close.values())))
            if len(errors) == 1:
                message = _no_parameter(strange[0], nearest)
            return UnknownParameter(message, errors=errors, did_you_mean=nearest)
        # webargs groups messages by location ({"json": {...}}); a request has one body.
        return Invalid(errors=dotted(next(iter(messages.values()), {})))
    translated = kind()
    if kind is ApiError and status < 500:
        translated = BadRequest(tr("{name}.", name=error.name))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        translated.headers["Allow"] = ", ".join(error.valid_methods)
    return translated


def unknown_parameter(name: str, known: Collection[str]) -> UnknownParameter:
    """The error of a query parameter that a route does not have, with the nearest of those that it has."""
    nearest = nearest_names(name, known)
    return UnknownParameter(_no_parameter(name, nearest), parameter=name, did_you_mean=nearest)


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """The names for which one that is unknown may have been meant, the most alike first: three at most."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)


def _no_parameter(name: str, nearest: Sequence[str]) -> Message:
    shown = name[:MAX_NAME]
    if nearest:
        return tr("There is no parameter {name}. Did you mean {names}?", name=shown, names=", ".join(nearest))
    return tr("There is no parameter {name}.", name=shown)


def _with_rule(text: str, rule: str, did_you_mean: Sequence[str] | None) -> str:
    """The message of a parameter, with the rule that it breaks and the nearest valid names."""
    if not isinstance(text, Message):
        return text
    nearest = {} if did_you_mean is None else {"did_you_mean": did_you_mean}
    return Message(text.template, text.rule if rule == "invalid" else rule, {**text.parameters, **nearest})


def dotted(messages: Any, prefix: str = "") -> dict[str, list[str]]:
    """Flatten nested messages: {"a": {0: {"b": [...]}}} to {"a.0.b": [...]}."""
    if not isinstance(messages, dict):
        return {prefix.removesuffix(".") or "_schema": [recognised(text) for text in messages]}
    flat: dict[str, list[str]] = {}
    for name, inner in messages.items():
        # marshmallow says `_schema` where a message is about the whole object.
        path = prefix if name == "_schema" and prefix else f"{prefix}{name}."
        flat.update(dotted(inner, path))
    return flat


def taken(field: str) -> Taken:
    """The error of a unique value that another object has."""
    return Taken(
        tr("This {field} is already taken.", field=field), errors={field: [tr("Already taken.", rule="taken")]}
    )
