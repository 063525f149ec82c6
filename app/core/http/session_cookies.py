"""Session cookies: pages of our own origin sign in without ever seeing a token.

CSRF defence: a cookie counts only in requests of our own origin, which the browser states in Sec-Fetch-Site or Origin.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

from flask import Response, current_app, request

from app.core.errors import Forbidden
from app.core.messages import tr
from app.core.request_context import SAFE_METHODS

P = ParamSpec("P")
R = TypeVar("R")


API_PREFIX = "itam.api_prefix"
"""In the WSGI environment, the beginning of the path as the client has sent it, where that is not `/api/`."""


class CrossSite(Forbidden):
    reason = "cross_site"
    message = tr("A session by cookie is only for pages of this origin: send Sec-Fetch-Site or Origin, as browsers do.")


class Cookie(NamedTuple):
    """A cookie that holds a token."""

    secure_name: str
    path: str
    lifetime: str
    """The setting of its token."""

    @property
    def plain_name(self) -> str:
        return self.secure_name.rpartition("-")[2]

    @property
    def name(self) -> str:
        """The prefix makes browsers refuse a cookie that another host or an unencrypted page has set."""
        return self.secure_name if _is_production() else self.plain_name

    def attributes(self) -> dict[str, Any]:
        path = self.path.replace("/api/", request.environ.get(API_PREFIX, "/api/"))
        return {"path": path, "httponly": True, "samesite": "Strict", "secure": _is_production()}


ACCESS = Cookie("__Host-itam_access", "/", "JWT_ACCESS_TOKEN_EXPIRES")
REFRESH = Cookie("__Secure-itam_refresh", "/api/auth/browser/refresh", "JWT_REFRESH_TOKEN_EXPIRES")
SECURITY_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    **{
        scheme: {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie.secure_name,
            "description": f"For pages of this origin. Outside of production its name is `{cookie.plain_name}`.",
        }
        for scheme, cookie in (("cookie", ACCESS), ("refresh_cookie", REFRESH))
    },
}


def read_token(*, refresh: bool = False) -> str | None:
    """The token in the request's cookie, None where it does not count; raises CrossSite for a write without proof."""
    token = request.cookies.get((REFRESH if refresh else ACCESS).name)
    if token is None:
        return None
    is_own = _is_of_our_origin()
    if request.method in SAFE_METHODS:
        # No header is proof when a person opens an address. A page of another origin is anonymous.
        return None if is_own is False else token
    if not is_own:
        raise CrossSite()
    return token


def token_of_caller() -> str | None:
    """The token that tells callers by cookie apart, verified or not."""
    if _is_of_our_origin() is False:
        return None
    return request.cookies.get(ACCESS.name) or request.cookies.get(REFRESH.name)


def same_origin(view: Callable[P, R]) -> Callable[P, R]:
    """Raise CrossSite unless a page of our origin has sent the request: others must not choose who is signed in."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _is_of_our_origin():
            raise CrossSite()
        return view(*args, **kwargs)

    return guarded


def set_cookies(response: Response, tokens: Mapping[str, Any]) -> None:
    for cookie, token in ((ACCESS, "access_token"), (REFRESH, "refresh_token")):
        lifetime = current_app.config[cookie.lifetime]
        response.set_cookie(cookie.name, tokens[token], max_age=lifetime, **cookie.attributes())


def clear_cookies(response: Response) -> None:
    for cookie in (ACCESS, REFRESH):
        response.delete_cookie(cookie.name, **cookie.attributes())


def _is_of_our_origin() -> bool | None:
    """Whether a page of our own origin has sent the request; None if nothing says so.

    Both headers must agree: scripts cannot set them, and a proxy that changes one makes no page ours.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site in ("same-site", "cross-site") or origin not in (None, f"{request.scheme}://{request.host}"):
        return False
    return True if origin is not None or site == "same-origin" else None


def _is_production() -> bool:
    return bool(current_app.config["FLASK_ENV"] == "production")
