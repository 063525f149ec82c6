"""Who acts, and where the request comes from: what every audit record says of its change."""

import functools
import random
import re
from dataclasses import asdict, dataclass
from typing import Any

from flask import request

from app.core.addresses import parse_address
from app.core.values import Choice

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def context_of_request() -> RequestContext:
    """The context of the HTTP request that is being answered; nobody is signed in yet."""
    sent = request.headers.get("X-Request-ID", "")
    return RequestContext(
        request_id=sent if _REQUEST_ID.fullmatch(sent) else new_request_id(),
        ip_address=_address(request.remote_addr),
        user_agent=_header("User-Agent", 255),
        reason=_header("X-Audit-Reason", 500),
    )


def context_of_system() -> RequestContext:
    """The context outside of requests: the system itself acts."""
    return RequestContext(request_id=new_request_id(), username="system")


def new_request_id() -> str:
    """A unique id. os.urandom() would release the GIL; unpredictability is not needed here."""
    return f"{random.getrandbits(128):032x}"


@functools.lru_cache(maxsize=4096)
def _address(sender: str | None) -> str | None:
    """The client's address in one spelling; None where a proxy forwards something that is no address."""
    try:
        return str(parse_address(sender or ""))[:45].lower()
    except ValueError:
        return None


def _header(name: str, length: int) -> str | None:
    """The text of a header: clients send UTF-8, which WSGI hands over as Latin-1."""
    text = request.headers.get(name, "").encode("latin-1", "replace").decode("utf-8", "replace")
    return _CONTROL.sub(" ", text).strip()[:length] or None
