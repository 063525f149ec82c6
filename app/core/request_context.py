"""Who acts, and where the request comes from: what every audit record says of its change."""

import functools
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from flask import Flask, Request, current_app, has_request_context, request

from app.core.addresses import forwarded_address
from app.core.header_text import one_line, read_description, read_sentence
from app.core.messages import LANGUAGES, tr
from app.core.values import Choice

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REASON = "reason"
"""The query parameter of every write that says why."""
REASON_HEADER = "X-Audit-Reason"
REASON_LENGTH = 500
USER_AGENT_LENGTH = 500

current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]
current_application: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined]
"""The request and the application themselves: to read an attribute of Flask's proxies takes five times as long."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Role(Choice):
    ADMIN = "admin", "administrator", "管理员"
    USER = "user", "用户", "普通用户"

    def covers(self, other: "Role") -> bool:
        return self is Role.ADMIN or self is other


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The signed-in user of a request, or the user in whose name a job works."""

    id: int
    username: str
    role: Role
    session_id: str | None = None
    token_id: str | None = None
    may_write: bool = True

    @property
    def is_in_person(self) -> bool:
        """Whether the user has signed in with a password; a script acts with a personal token instead."""
        return self.session_id is not None

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """The context of a change: a person's request, the command line or a job of the system."""

    request_id: str
    user_id: int | None = None
    username: str | None = None
    token_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    reason: str | None = None
    traceparent: str | None = None
    """The client's span, as W3C Trace Context writes it."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def of(self, actor: Actor) -> "RequestContext":
        """The same with who acts. Every request makes one: dataclasses.replace() takes three times as long."""
        return RequestContext(
            request_id=self.request_id,
            user_id=actor.id,
            username=actor.username,
            token_id=actor.token_id,
            ip_address=self.ip_address,
            user_agent=self.user_agent,
            reason=self.reason,
            traceparent=self.traceparent,
        )


def context_of_request() -> RequestContext:
    """The context of the HTTP request that is being answered; nobody is signed in yet."""
    received = current_request()
    environ = received.environ
    sent = environ.get("HTTP_X_REQUEST_ID", "")
    agent = environ.get("HTTP_USER_AGENT")
    parent = environ.get("HTTP_TRACEPARENT")
    return RequestContext(
        request_id=sent if _REQUEST_ID.fullmatch(sent) else new_request_id(),
        ip_address=_address(received.remote_addr),
        user_agent=None if agent is None else read_description(agent, USER_AGENT_LENGTH),
        reason=_reason_or_none(),
        traceparent=parent if parent is not None and _TRACEPARENT.fullmatch(parent) else None,
    )


def reason_of_request() -> str | None:
    """Why the client makes this request, as it says; raises ValueError with a sentence if that cannot be read."""
    received = current_request()
    header = received.environ.get("HTTP_X_AUDIT_REASON")
    may_name_it = received.query_string and received.method not in SAFE_METHODS
    parameters = received.args.getlist(REASON) if may_name_it else []
    if header is None and not parameters:
        return None
    reasons = set()
    if header is not None:
        reasons.add(_readable(REASON_HEADER, header, read_sentence))
    reasons.update(_readable(REASON, text, str) for text in parameters)
    if len(reasons) > 1:
        raise ValueError(
            tr(
                "Give one reason: either the parameter {reason} or the header {reason_header}.",
                reason=REASON,
                reason_header=REASON_HEADER,
            )
        )
    return next(iter(reasons), None)


def _readable(name: str, text: str, decode: Callable[[str], str]) -> str:
    try:
        return one_line(decode(text), REASON_LENGTH)
    except ValueError as error:
        raise ValueError(tr("{name}: {problem}", name=name, problem=error.args[0])) from None


def _reason_or_none() -> str | None:
    try:
        return reason_of_request()
    except ValueError:
        # The request is refused (app/core/http/api.py); what is recorded of it has no reason.
        return None


def context_of_system() -> RequestContext:
    """The context outside of requests: the system itself acts."""
    return RequestContext(request_id=new_request_id(), username="system")


def language_of_request() -> str:
    """The language in which the client reads messages; outside of requests English."""
    language = request.accept_languages.best_match(LANGUAGES) if has_request_context() else None
    return language or LANGUAGES[0]


def take_language() -> None:
    """Let the parameter `lang` stand for Accept-Language, and hide it from views; raises ValueError with a sentence."""
    if b"lang=" not in current_request().query_string:
        return
    parameters = request.query_string.split(b"&")
    languages = {item.removeprefix(b"lang=").decode() for item in parameters if item.startswith(b"lang=")}
    if not languages:
        return
    request.query_string = b"&".join(item for item in parameters if not item.startswith(b"lang="))
    if len(languages) > 1 or not languages.issubset(LANGUAGES):
        choices = ", ".join(LANGUAGES)
        raise ValueError(tr("{parameter} must be one of {choices}.", rule="choice", parameter="lang", choices=choices))
    request.environ["HTTP_ACCEPT_LANGUAGE"] = languages.pop()


def new_request_id() -> str:
    """A unique id. os.urandom() would release the GIL; unpredictability is not needed here."""
    return f"{random.getrandbits(128):032x}"


@functools.lru_cache(maxsize=4096)
def _address(sender: str | None) -> str | None:
    """The client's address in one spelling; None where a proxy forwards something that is no address."""
    try:
        return str(forwarded_address(sender or ""))[:45].lower()
    except ValueError:
        return None
