"""The Flask application, and what it does with every request whatever its route.

A request is refused that would be misread; an answer gets security headers, is measured, and is a line in the log.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

import structlog
from flask import Flask, Request, Response, after_this_request, request
from flask.sessions import SessionInterface, SessionMixin
from flask_cors import CORS
from prometheus_client import Counter, Histogram
from werkzeug.routing import IntegerConverter, MapAdapter

from app.core.cache.positions import HEADER as POSITION
from app.core.db.measurement import counts
from app.core.db.unit_of_work import current_context, unit_of_work
from app.core.errors import BadHeader, BadParameter, BadRequest
from app.core.http.envelope import Answer
from app.core.http.limits.rate_limiter import HEADERS
from app.core.http.session_cookies import API_PREFIX
from app.core.messages import tr
from app.core.request_context import current_application, current_request, reason_of_request, take_language

log = structlog.get_logger()

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

NO_ROUTE = "none"
"""The route of a request that matches none: its path may hold anything."""
ALWAYS = {
    # Nearly all answers name people, such as the creator of an object. What may be cached says so itself.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}
VERSION = "/api/v1/"
"""The version of the API in a path, which may be left out."""
_READABLE = [
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    POSITION,
    "X-Request-ID",
    *HEADERS,
]
"""Response headers that a front end of another origin may read."""

# Labels are the matched rule instead of the path, and one of these methods: clients cannot create new ones.
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

requests_total = Counter("itam_http_requests", "Requests answered.", ["method", "route", "status"])
request_seconds = Histogram(
    "itam_http_request_duration_seconds",
    "Seconds from the request to its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10),
)


class InvalidReason(BadRequest):
    reason, message = "invalid_reason", tr("The reason of a write cannot be read.")


class NoSessions(SessionInterface):
    """No Flask session: the cookies of a session are those of session_cookies, with its defence against other sites."""

    def open_session(self, _app: Flask, _request: Request) -> SessionMixin | None:
        return None

    def save_session(self, _app: Flask, _session: SessionMixin, _response: Response) -> None:
        """Does nothing: there is no session."""


class Identity(IntegerConverter):
    """`int` in a path: at most 18 digits, which fit into 64 bits; a longer number is not found."""

    regex = r"\d{1,18}"


class Platform(Flask):
    """Flask without sessions and redirects of paths, which answers `/api/v1` as `/api`."""

    session_interface = NoSessions()
    response_class = Answer

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.url_map.converters["int"] = Identity
        # A path with `//` is not found: werkzeug would redirect, to whatever host the request names.
        self.url_map.merge_slashes = False

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: there are no coroutines, and Flask would ask twelve times in each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """The routes for a request. None depends on its host, which Flask reads twice: 60 of 850 calls of an object."""
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        named = environ.get("HTTP_HOST", ""), request.root_path, "", environ["wsgi.url_scheme"]
        return MapAdapter(self.url_map, *named, request.path, request.method, request.query_string.decode("latin-1"))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(VERSION):
            environ |= {"PATH_INFO": unversioned(path), API_PREFIX: VERSION}
        answer: Iterable[bytes] = super().__call__(environ, start_response)
        return answer

    def mount(self, prefix: str, mounted: WsgiApplication) -> None:
        """Have a WSGI application answer the paths with a prefix."""
        answer = self.wsgi_app

        def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            chosen = mounted if environ.get("PATH_INFO", "").startswith(prefix) else answer
            return chosen(environ, start_response)

        self.wsgi_app = dispatch  # type: ignore[method-assign]


def unversioned(path: str) -> str:
    """A path below `/api/v1` as the routes have it, below `/api`."""
    return f"/api/{path.removeprefix(VERSION)}" if path.startswith(VERSION) else path


def refuse_misread() -> None:
    """Refuse a request that would be misread, such as one with an unreadable header; raises BadRequest."""
    received = current_request()
    query = received.query_string
    if not query.isascii() or b"%" in query:
        try:
            # werkzeug would leave the escapes in the text.
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise BadParameter(tr("The query string is not valid UTF-8.")) from None
    try:
        take_language()
    except ValueError as error:
        raise BadParameter(error.args[0], parameter="lang") from None
    try:
        reason_of_request()
    except ValueError as error:
        raise InvalidReason(error.args[0]) from None
    # A header arrives empty if it was not ASCII; then the client would be recorded and limited under the address of
    # the proxy.
    if current_application().config["TRUSTED_PROXIES"] and received.environ.get("HTTP_X_FORWARDED_FOR") == "":
        raise BadHeader(tr("X-Forwarded-For must be ASCII."))


class _CountedParts:
    """The parts of an answer, whose bytes are counted while they are sent."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.bytes += len(part)
            yield part

    def close(self) -> None:
        if isinstance(self._parts, Closable):
            self._parts.close()


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


def _measure() -> None:
    """Count and time the request and, where requests are logged, write its line."""
    is_logged = current_application().extensions["logs_requests"]
    began, statements, rows = time.perf_counter(), counts.statements, counts.rows

    def finish(response: Response) -> Response:
        seconds = time.perf_counter() - began
        received = current_request()
        method = received.method if received.method in _METHODS else "other"
        counter, histogram = _labelled(method, route_of_request(), response.status_code)
        counter.inc()
        histogram.observe(seconds)
        if is_logged:
            _log_answer(response, began, statements, rows)
        return response

    after_this_request(finish)


@functools.cache
def _labelled(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of an answer; to look them up by their labels takes as long as to count."""
    return requests_total.labels(method, route, status), request_seconds.labels(method, route)


def _log_answer(response: Response, began: float, statements: int, rows: int) -> None:
    """Write the line of a request; for an answer that is made while it is sent, at its end."""
    context = current_context()
    facts: dict[str, Any] = {"request_id": context.request_id, "user_id": context.user_id}
    facts |= {"method": request.method, "route": route_of_request(), "status": response.status_code}

    def write(size: int) -> None:
        log.info(
            "request",
            **facts,
            ms=round((time.perf_counter() - began) * 1000, 2),
            statements=counts.statements - statements,
            rows=counts.rows - rows,
            bytes=size,
        )

    if not response.is_streamed or response.content_length is not None:
        has_body = request.method != "HEAD" and response.status_code not in (204, 304)
        write((response.content_length or response.calculate_content_length() or 0) if has_body else 0)
    else:
        parts = response.response = _CountedParts(response.response)
        response.call_on_close(lambda: write(parts.bytes))


def route_of_request() -> str:
    rule = current_request().url_rule
    return NO_ROUTE if rule is None else rule.rule


def init_app(app: Flask) -> None:
    """Measure and log requests, and protect answers; the requests to refuse are those that are within the limits."""
    app.extensions["logs_requests"] = logging.getLevelNamesMapping()[app.config["LOG_LEVEL"]] <= logging.INFO
    app.before_request(_measure)
    always = dict(ALWAYS)
    secure = {"Strict-Transport-Security": "max-age=31536000"}
    if origins := app.config["CORS_ORIGINS"]:
        # Front ends of other origins send tokens in a header: no credentials (cookies) are allowed.
        CORS(app, resources=r"/api/*", origins=list(origins), expose_headers=_READABLE, max_age=600)
        # Those front ends may also embed answers, such as images.
        always["Cross-Origin-Resource-Policy"] = "cross-origin"

    names = frozenset(name.lower() for name in (*always, *secure, POSITION, "X-Request-ID"))

    def protect(response: Answer) -> Response:
        work = unit_of_work()
        headers = [*response.standing, *always.items(), ("X-Request-ID", work.context.request_id)]
        if position := work.written_to:
            headers.append((POSITION, position))
        if current_request().is_secure:
            headers += secure.items()
        # A view that needs another policy, such as the documentation page, has set its own.
        if own := names.intersection([name.lower() for name, _ in response.headers]):
            headers = [(name, value) for name, value in headers if name.lower() not in own]
        response.standing = headers
        return response

    app.after_request(protect)
