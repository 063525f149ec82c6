"""The OpenAPI document, and Swagger UI and ReDoc over it, served by us without any external resource."""

import gzip
import hashlib
import json
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response, current_app, request, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchPath

from app.core.errors import NotFound
from app.core.http.access import public
from app.core.http.api import document
from app.core.http.envelope import dumps

_SHIPPED = Path(str(files("flask_swagger_ui"))) / "dist"
_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "index.css", "favicon-32x32.png"})
_REDOC = Path(__file__).parent / "redoc"
_REDOC_FILES = frozenset({"redoc.standalone.js"})
DAY = 86_400
LINE_LENGTH = 118

# Scripts and styles come from us. React sets style attributes, which a policy without 'unsafe-inline' blocks.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# The search of ReDoc runs in a worker that its script makes of a blob.
_REDOC_POLICY = f"{_POLICY}; worker-src blob:"

# Relative URLs, so that it also works behind a proxy that adds a path prefix.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>IT asset management: the API</title>
  <link rel="stylesheet" href="docs/index.css">
  <link rel="stylesheet" href="docs/swagger-ui.css">
  <link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""

# Collapsed at first: a browser needs seconds to render all operations and their filters.
_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null
});
"""

_REDOC_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>IT asset management: the API</title>
  <link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="redoc"></div>
  <script src="redoc/redoc.standalone.js"></script>
  <script src="redoc/start.js"></script>
</body>
</html>
"""

_REDOC_START = """Redoc.init("openapi.json", {}, document.getElementById("redoc"));
"""


class ServedDocument:
    """The OpenAPI document as it is sent: made at the first request, and then the same while the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: tuple[bytes, bytes, str] | None = None

    def bodies(self, app: Flask) -> tuple[bytes, bytes, str]:
        """The plain body, the compressed one, and the tag of both."""
        with self._lock:
            if self._bodies is None:
                plain = dumps(document(app))
                self._bodies = plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:16]
            return self._bodies


@public
def serve_document() -> Response:
    """The OpenAPI document, as `openapi.json` holds it."""
    served: ServedDocument = current_app.extensions["openapi_document"]
    plain, compressed, tag = served.bodies(current_app)
    is_compressed = request.accept_encodings["gzip"] > 0
    response = Response(compressed if is_compressed else plain, mimetype="application/json")
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers.update({"Vary": "Accept-Encoding", "Cache-Control": "no-cache"})
    # Weak, because it is the tag of both bodies.
    response.set_etag(tag, weak=True)
    return cast(Response, response.make_conditional(request))


@public
def show() -> Response:
    """The Swagger UI page."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})


@public
def send_file(name: str) -> Response:
    """A script or style of the page; raises NotFound for anything else."""
    if name == "start.js":
        return Response(_START, mimetype="text/javascript")
    return _shipped(_SHIPPED, _FILES, name)


@public
def show_redoc() -> Response:
    """The ReDoc page."""
    return Response(_REDOC_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _REDOC_POLICY})


@public
def send_redoc_file(name: str) -> Response:
    """A script of the ReDoc page; raises NotFound for anything else."""
    if name == "start.js":
        return Response(_REDOC_START, mimetype="text/javascript")
    return _shipped(_REDOC, _REDOC_FILES, name)


def _shipped(folder: Path, names: frozenset[str], name: str) -> Response:
    if name not in names:
        raise NotFound()
    try:
        return send_from_directory(folder, name, max_age=DAY)
    except NoSuchPath:
        raise NotFound() from None


def init_app(app: Flask) -> None:
    app.extensions["openapi_document"] = ServedDocument()
    app.add_url_rule("/api/openapi.json", "openapi", serve_document)
    app.add_url_rule("/api/docs", "docs", show)
    app.add_url_rule("/api/docs/<name>", "docs_file", send_file)
    app.add_url_rule("/api/redoc", "redoc", show_redoc)
    app.add_url_rule("/api/redoc/<name>", "redoc_file", send_redoc_file)


def as_lines(value: Any, indent: int = 0) -> str:
    """JSON for people and for comparisons: what fits on a line stands on one."""
    on_one_line = json.dumps(value, ensure_ascii=False)
    if len(on_one_line) + indent <= LINE_LENGTH or not isinstance(value, dict | list):
        return on_one_line
    margin = " " * (indent + 1)
    if isinstance(value, dict):
        begin, end = "{", "}"
        members = [f"{json.dumps(name)}: {as_lines(member, indent + 1)}" for name, member in value.items()]
    else:
        begin, end = "[", "]"
        members = [as_lines(member, indent + 1) for member in value]
    lines = ",\n".join(margin + member for member in members)
    return f"{begin}\n{lines}\n{margin[:-1]}{end}"
