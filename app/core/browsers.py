"""What browsers are told: which front ends may call us, and that our answers are data and never pages."""

from flask import Flask, Response, request
from flask_cors import CORS

from app.core.limits import HEADERS

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}
_READABLE = ["ETag", "Location", "Retry-After", "X-Request-ID", *HEADERS]
"""The headers of an answer that a front end elsewhere may read."""


def init_app(app: Flask) -> None:
    if origins := app.config["CORS_ORIGINS"]:
        # Tokens travel in a header of their own, so no cookies are allowed along.
        CORS(app, resources=r"/api/*", origins=list(origins), expose_headers=_READABLE, max_age=600)
        # Whoever may call us from elsewhere may also show what we answer.
        resource_policy = "cross-origin"
    else:
        resource_policy = _ALWAYS["Cross-Origin-Resource-Policy"]

    def protect(response: Response) -> Response:
        for name, value in {**_ALWAYS, "Cross-Origin-Resource-Policy": resource_policy}.items():
            # A view that needs another policy, such as a page, has set its own.
            response.headers.setdefault(name, value)
        if request.path.startswith("/api/auth/"):
            # Tokens and mail addresses are nobody else's to keep.
            response.headers.setdefault("Cache-Control", "no-store")
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return response

    app.after_request(protect)
