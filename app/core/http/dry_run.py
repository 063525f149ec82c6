"""`?dry_run=true`: a write is checked, done and answered, and its transaction is rolled back instead of committed."""

from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar

from flask import Response
from marshmallow import ValidationError, fields

from app.core.db.endings import undo_at_end
from app.core.db.unit_of_work import unit_of_work
from app.core.errors import BadParameter, RepeatedParameter
from app.core.messages import tr
from app.core.request_context import SAFE_METHODS, current_request

P = ParamSpec("P")
R = TypeVar("R")

PARAMETER = "dry_run"
FLAG = fields.Boolean()
HEADERS_OF_EFFECTS = ("Location", "Set-Cookie")
"""What an answer says of an object or a session that would be there, or would be gone."""


def without_dry_run(view: Callable[P, R]) -> Callable[P, R]:
    """Declare that a write takes no `dry_run`: its effect is not one transaction of the database."""
    view.takes_dry_run = False  # type: ignore[attr-defined]
    return view


def is_taken_by(view: Any, methods: Collection[str]) -> bool:
    """Whether a view takes the parameter: every write does, unless it declares otherwise."""
    return not SAFE_METHODS.issuperset(methods) and getattr(view, "takes_dry_run", True)


def is_asked_for() -> bool:
    """Whether the request asks for a dry run; raises ParameterError for another value than true or false."""
    texts = current_request().args.getlist(PARAMETER)
    if len(texts) > 1:
        raise RepeatedParameter(parameter=PARAMETER)
    try:
        return bool(texts) and bool(FLAG.deserialize(texts[0]))
    except ValidationError:
        message = tr("{parameter} must be one of {choices}.", rule="choice", parameter=PARAMETER, choices="true, false")
        raise BadParameter(message, parameter=PARAMETER) from None


def perform(write: Callable[[], Response]) -> Response:
    """The answer of a write, whose block is rolled back at its end if the request asks for a dry run."""
    if not is_asked_for():
        return write()
    undo_at_end()
    answer = write()
    for name in HEADERS_OF_EFFECTS:
        answer.headers.pop(name, None)
    return answer


def is_dry_run() -> bool:
    """Whether the current block is a dry run: what it does outside of the database must not be done."""
    return unit_of_work().transaction.is_dry_run
