"""Who is acting, and from where: what every audit record says of its change."""

import functools
import ipaddress
import random
import re
from dataclasses import asdict, dataclass
from typing import Any

from flask import Flask, Response, g, request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a change: a person's request, the command line or a job of the system."""

    request_id: str
    user_id: int | None = None
    username: str | None = None
    token_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def current_origin() -> Origin:
    """The origin of what is happening now; outside a request and a job it is the system itself."""
    if "origin" not in g:
        g.origin = Origin(request_id=new_request_id(), username="system")
    origin: Origin = g.origin
    return origin


def new_request_id() -> str:
    """Unique, which is all that it has to be: asking the system for chance would let other threads go first."""
    return f"{random.getrandbits(128):032x}"


def init_app(app: Flask) -> None:
    app.before_request(_note_origin)
    app.after_request(_name_request)


def _note_origin() -> None:
    sent = request.headers.get("X-Request-ID", "")
    g.origin = Origin(
        request_id=sent if _REQUEST_ID.fullmatch(sent) else new_request_id(),
        ip_address=_address(request.remote_addr),
        user_agent=_header("User-Agent", 255),
        reason=_header("X-Audit-Reason", 500),
    )


def _name_request(response: Response) -> Response:
    response.headers["X-Request-ID"] = current_origin().request_id
    return response


@functools.lru_cache(maxsize=4096)
def _address(sender: str | None) -> str | None:
    """Where the request comes from; what a proxy forwards may be no address at all."""
    try:
        return str(ipaddress.ip_address(sender or ""))[:45].lower()
    except ValueError:
        return None


def _header(name: str, length: int) -> str | None:
    """A header's text: people write UTF-8 into them, which WSGI hands over as Latin-1."""
    text = request.headers.get(name, "").encode("latin-1", "replace").decode("utf-8", "replace")
    return _CONTROL.sub(" ", text).strip()[:length] or None
