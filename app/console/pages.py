"""Serve the console: one page, whatever address of it is opened, and its scripts and styles."""

from pathlib import Path

from flask import Flask, Response, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchPath
from werkzeug.routing import BaseConverter, PathConverter

from app.core.errors import NotFound
from app.core.http.access import public

STATIC = Path(__file__).parent / "static"

_YEAR = 31_536_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class PageAddress(PathConverter):
    """An address of the console: not one of the API, and no file. `/assets/7` is one, of the resource assets."""

    regex = r"(?!api(?:/|$))[^/.][^.]*"


class FileName(BaseConverter):
    regex = r"[^/]+\.[^/]+"


@public
def show(address: str = "") -> Response:
    """The page, which reads the address itself. Never cached: it names the scripts of this version."""
    page = (STATIC / "index.html").read_bytes()
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(page, mimetype="text/html", headers=headers)


@public
def send_asset(name: str) -> Response:
    """A script, style or picture; its name changes with its content. Raises NotFound."""
    try:
        response = send_from_directory(STATIC / "assets", name, max_age=_YEAR)
    except NoSuchPath:
        raise NotFound() from None
    response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    return response


def init_app(app: Flask) -> None:
    app.url_map.converters["page"] = PageAddress
    app.url_map.converters["file_name"] = FileName
    app.add_url_rule("/", "console", show)
    app.add_url_rule("/<page:address>", "console_page", show)
    app.add_url_rule("/assets/<file_name:name>", "console_asset", send_asset)
