"""What browsers are told: which front ends may call us, that our answers are data and never pages, and no cookies."""

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface, SessionMixin
from flask_cors import CORS

from app.core.db.unit_of_work import current_context
from app.core.http.rate_limiter import HEADERS

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}
_READABLE = ["ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-ID", *HEADERS]
"""The headers of an answer that a front end elsewhere may read."""


class NoSessions(SessionInterface):
    """Flask's session, neither read nor written: who asks stands in a header, so no other site can ask for them."""

    def open_session(self, _app: Flask, _request: Request) -> SessionMixin | None:
        return None

    def save_session(self, _app: Flask, _session: SessionMixin, _response: Response) -> None:
        """Nothing is ever in it."""


def init_app(app: Flask) -> None:
    app.session_interface = NoSessions()
    always = dict(_ALWAYS)
    if origins := app.config["CORS_ORIGINS"]:
        # Tokens travel in a header of their own, so no cookies are allowed along.
        CORS(app, resources=r"/api/*", origins=list(origins), expose_headers=_READABLE, max_age=600)
        # Whoever may call us from elsewhere may also show what we answer.
        always["Cross-Origin-Resource-Policy"] = "cross-origin"

    def protect(response: Response) -> Response:
        told = {**always, "X-Request-ID": current_context().request_id}
        if request.path.startswith("/api/auth/"):
            # Tokens and mail addresses are nobody else's to keep.
            told["Cache-Control"] = "no-store"
        if request.is_secure:
            told["Strict-Transport-Security"] = "max-age=31536000"
        # A view that needs another policy, such as a page, has set its own.
        own = {name.title() for name, _ in response.headers}
        response.headers.extend((name, value) for name, value in told.items() if name.title() not in own)
        return response

    app.after_request(protect)
