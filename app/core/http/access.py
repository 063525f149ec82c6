"""Who may call an endpoint: access is declared on every route, and refused by default."""

import functools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, ParamSpec, TypeVar, cast

from flask import Flask
from flask_jwt_extended import JWTManager, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError
from sqlalchemy.exc import SQLAlchemyError

from app.core.cache.positions import read_from_replica
from app.core.cache.replica import replica_of_app
from app.core.db.prepared import Question
from app.core.db.unit_of_work import act_as, actor_or_none, current_actor, reading, unit_of_work
from app.core.errors import ExpiredToken, Forbidden, InvalidToken, RoleNeeded, Unauthorized
from app.core.http import session_cookies
from app.core.messages import tr
from app.core.request_context import SAFE_METHODS, Actor, Role, current_application, current_request
from app.core.values import utcnow

P = ParamSpec("P")
R = TypeVar("R")

TokenReader = Callable[[str], Actor]
SessionReader = Callable[[Mapping[str, Any]], Question[Actor]]


@dataclass(frozen=True, slots=True)
class Readers:
    """The functions that know whom a token stands for; they raise Unauthorized."""

    session: SessionReader
    """Asks for the user of the claims of a signed token."""
    tokens: Mapping[str, TokenReader]
    """Read the tokens that are looked up instead of signed, by the prefix of each kind."""


class MissingToken(Unauthorized):
    reason = "token_missing"


class NotInPerson(Forbidden):
    reason, message = "not_in_person", tr("A personal access token cannot do this. Please sign in.")


class ReadOnlyToken(Forbidden):
    reason, message = "scope", tr("This token may only read.")


_DECODING_ERRORS = (JWTExtendedException, PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What decoding raises: the libraries do not expect all that a signed token may hold."""
_SESSION_ID = re.compile(r"[0-9a-f]{0,32}")
_TOKEN_ID = re.compile(r"[0-9a-f-]{1,64}")

ARRIVED_AT = "arrived_at"
"""The claim of ours that says when the request with a refresh token arrived."""
VOUCHER = "itam.voucher"
"""In the WSGI environment, where no client can set it: a function that reads the user without a token."""

Access = Role | Literal["public", "refresh"]


def requires(role: Role, *, in_person: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Admit signed-in users whose role covers `role`; others get a 401 or a 403.

    What manages passwords, sessions and tokens is done `in_person`: else a personal token that has leaked could
    make itself successors.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        def admit(actor: Actor) -> None:
            _act_as(actor)
            if refusal := _refusal(actor, role, in_person=in_person):
                raise refusal

        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            work = unit_of_work()
            asked = who_asks()
            if isinstance(asked, Question) and work.is_reading and replica_of_app() is None:
                return _ask_together(asked.then(admit), view, *args, **kwargs)
            admit(_answered(asked))
            if work.is_reading:
                read_from_replica()
            return view(*args, **kwargs)

        guarded.in_person = in_person  # type: ignore[attr-defined]
        return _declare(guarded, role)

    return decorate


def _refusal(actor: Actor, role: Role, *, in_person: bool) -> Forbidden | None:
    if not actor.role.covers(role):
        return RoleNeeded()
    return NotInPerson() if in_person and not actor.is_in_person else None


def admits(view: Any, actor: Actor) -> bool:
    """Whether the role and the token of a user suffice for a view; rights on objects are checked by the view."""
    return _refusal(actor, view.access, in_person=view.in_person) is None


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Admit everybody."""
    return _declare(view, "public")


def requires_refresh_token(view: Callable[P, R]) -> Callable[P, R]:
    """Admit who sends a refresh token, which opens nothing else."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        authenticate(refresh=True)
        return view(*args, **kwargs)

    return _declare(guarded, "refresh")


def _declare(view: Callable[P, R], access: Access) -> Callable[P, R]:
    view.access = access  # type: ignore[attr-defined]
    return view


def _ask_together(question: Question[None], view: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a view whose first query is sent together with the question who asks; raises what its answer raises."""
    work = unit_of_work()
    work.question = question
    try:
        answer = view(*args, **kwargs)
    except (SQLAlchemyError, Unauthorized, Forbidden):
        raise
    except BaseException:
        # A 401 or a 403 comes before any other error.
        work.settle()
        raise
    else:
        work.settle()
        return answer
    finally:
        work.question = None


def authenticate(*, refresh: bool = False) -> Actor:
    """Verify the request's token and remember who sent it; raises Unauthorized, and Forbidden if it may only read.

    It reads before the view's transaction begins: on SQLite an anonymous caller never holds the one write lock.
    """
    actor = _answered(who_asks(refresh=refresh))
    _act_as(actor)
    return actor


def _answered(asked: Actor | Question[Actor]) -> Actor:
    if isinstance(asked, Actor):
        return asked
    with reading():
        return asked.answer()


def who_asks(*, refresh: bool = False) -> Actor | Question[Actor]:
    """The user of the request's token, or the question that is left; raises Unauthorized."""
    received = current_request()
    if VOUCHER in received.environ:
        actor: Actor = received.environ[VOUCHER]()
        return actor
    token = bearer_token()
    if token is None:
        token = session_cookies.read_token(refresh=refresh)
    if token is None:
        raise MissingToken()
    readers: Readers = current_application().extensions["token_readers"]
    for prefix, read_token in readers.tokens.items():
        if token.startswith(prefix) and not refresh:
            with reading():
                return read_token(token)
    return readers.session(_claims(token, "refresh" if refresh else "access"))


def _act_as(actor: Actor) -> None:
    act_as(actor)
    if not actor.may_write and current_request().method not in SAFE_METHODS:
        raise ReadOnlyToken()


def bearer_token() -> str | None:
    """The token of the request; the name of the scheme may be in any case (RFC 9110, section 11.1)."""
    scheme, _, token = current_request().environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.lstrip(" ") if scheme.lower() == "bearer" else None


def _claims(token: str, kind: str) -> Mapping[str, Any]:
    """The claims of a signed token of this kind; raises Unauthorized."""
    try:
        claims = _verified(token, current_application().config["JWT_SECRET_KEY"])
    except _DECODING_ERRORS:
        raise InvalidToken() from None
    if claims["exp"] <= time.time():
        raise ExpiredToken()
    if claims["type"] != kind:
        raise InvalidToken()
    # When a refresh token arrived says whether it was used again, or only at the same time.
    unit_of_work().claims = {**claims, ARRIVED_AT: utcnow()} if kind == "refresh" else claims
    return claims


@functools.lru_cache(maxsize=4096)
def _verified(token: str, _key: str) -> Mapping[str, Any]:
    """The claims of a token whose signature is valid, expired or not; the session behind it is read for each request.

    Raises one of _DECODING_ERRORS, also for claims that we do not write: another program may have the key.

    Cached, because verify_jwt_in_request() would verify the signature again for each request: 160 instead of 2 µs.
    """
    claims = decode_token(token, allow_expired=True)
    if not _are_ours(claims):
        raise ValueError("The claims are not ours.")
    return MappingProxyType(claims)


def _are_ours(claims: Mapping[str, Any]) -> bool:
    """Whether the claims have the form in which we write them; raises TypeError where an id is no text."""
    generation = claims.get("gen", None if claims["type"] == "refresh" else 0)
    return (
        type(claims.get("exp")) is type(generation) is int
        and isinstance(claims["sub"], str)
        and bool(_SESSION_ID.fullmatch(claims.get("sid", "")))
        and bool(_TOKEN_ID.fullmatch(claims["jti"]))
    )


def current_claims() -> Mapping[str, Any]:
    """What the signed token of this request says."""
    return unit_of_work().claims


def access_of(view: Callable[..., Any]) -> Access | None:
    return cast("Access | None", getattr(view, "access", None))


def init_app(app: Flask, readers: Readers) -> None:
    JWTManager(app)
    app.extensions["token_readers"] = readers


__all__ = [
    "ARRIVED_AT",
    "SAFE_METHODS",
    "VOUCHER",
    "Access",
    "Actor",
    "Readers",
    "Role",
    "access_of",
    "act_as",
    "actor_or_none",
    "admits",
    "authenticate",
    "bearer_token",
    "current_actor",
    "current_claims",
    "init_app",
    "public",
    "requires",
    "requires_refresh_token",
]
