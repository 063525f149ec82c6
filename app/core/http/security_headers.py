"""Security headers: CORS for configured front ends, a policy that treats answers as data, and no Flask session."""

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface, SessionMixin
from flask_cors import CORS

from app.core.db.unit_of_work import current_context
from app.core.http.rate_limiter import HEADERS

ALWAYS = {
    # Nearly all answers name people, such as the creator of an object. What may be cached says so itself.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}
_READABLE = [
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    *HEADERS,
]
"""Response headers that a front end of another origin may read."""


class NoSessions(SessionInterface):
    """No Flask session: the cookies of a session are those of session_cookies, with its defence against other sites."""

    def open_session(self, _app: Flask, _request: Request) -> SessionMixin | None:
        return None

    def save_session(self, _app: Flask, _session: SessionMixin, _response: Response) -> None:
        """Does nothing: there is no session."""


def init_app(app: Flask) -> None:
    app.session_interface = NoSessions()
    always = dict(ALWAYS)
    if origins := app.config["CORS_ORIGINS"]:
        # Front ends of other origins send tokens in a header: no credentials (cookies) are allowed.
        CORS(app, resources=r"/api/*", origins=list(origins), expose_headers=_READABLE, max_age=600)
        # Those front ends may also embed answers, such as images.
        always["Cross-Origin-Resource-Policy"] = "cross-origin"

    def protect(response: Response) -> Response:
        headers = {**always, "X-Request-ID": current_context().request_id}
        if request.is_secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        # A view that needs another policy, such as the documentation page, has set its own.
        for name in {name.title() for name, _ in response.headers}.intersection(headers):
            del headers[name]
        response.headers.extend(headers)
        return response

    app.after_request(protect)
