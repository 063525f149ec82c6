"""Announcing routes that will go away: the headers `Deprecation` (RFC 9745) and `Sunset` (RFC 8594)."""

import functools
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from flask import Response, after_this_request
from werkzeug.http import http_date

View = Callable[..., Any]

_HEADERS = {
    "Deprecation": "Since when the operation should no longer be used: `@` and the seconds since 1970.",
    "Sunset": "When it goes away.",
}


class Deprecation(NamedTuple):
    """Since when a route should no longer be used, and from which day, in UTC, it may be gone."""

    since: date
    sunset: date

    def add_headers(self, response: Response) -> Response:
        """Announce it in an answer that is no error."""
        if response.status_code < 300:
            response.headers["Deprecation"] = f"@{_midnight(self.since).timestamp():.0f}"
            response.headers["Sunset"] = http_date(_midnight(self.sunset))
        return response


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def deprecated(*, since: date, sunset: date) -> Callable[[View], View]:
    """Declare that a route will go away; stands below the route. The version before is the last that has it."""
    if sunset <= since:
        raise ValueError("A route goes away after it is announced.")

    def decorate(view: View) -> View:
        view.deprecation = Deprecation(since, sunset)  # type: ignore[attr-defined]
        return view

    return decorate


def announce(view: View) -> View:
    """A view whose answers, and whose operation in the document, announce the `deprecated` that it declares."""
    deprecation: Deprecation | None = getattr(view, "deprecation", None)
    if deprecation is None:
        return view

    @functools.wraps(view)
    def announcing(*args: Any, **kwargs: Any) -> Any:
        after_this_request(deprecation.add_headers)
        return view(*args, **kwargs)

    docs = announcing._apidoc  # type: ignore[attr-defined]
    docs["manual_doc"]["deprecated"] = True
    for status in docs["success_status_codes"]:
        for response in docs["response"]["responses"][status]:
            response["headers"] = {**(response.get("headers") or {}), **_documented()}
    return announcing


def _documented() -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
