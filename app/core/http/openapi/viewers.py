"""The OpenAPI document, and Swagger UI and ReDoc over it, served by us without any external resource."""

import gzip
import hashlib
import json
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

from flask import Flask, Response, current_app, request, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchPath

from app.core.errors import NotFound
from app.core.http.access import public
from app.core.http.api import document
from app.core.http.envelope import dumps

DAY = 86_400
LINE_LENGTH = 118

_STARTS = Path(__file__).parent / "pages"

# Relative URLs, so that it also works behind a proxy that adds a path prefix.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>IT asset management: the API</title>
  <link rel="icon" type="image/png" href="docs/favicon-32x32.png">
{styles}</head>
<body>
  <div id="viewer"></div>
  <script{kind} src="{name}/{script}"></script>
  <script{kind} src="{name}/start.js"></script>
</body>
</html>
"""

# Scripts and styles come from us. React sets style attributes, which a policy without 'unsafe-inline' blocks.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Viewer(NamedTuple):
    """A page over the OpenAPI document: a library's files from `folder`, and our script that starts it."""

    name: str
    folder: Path
    script: str
    styles: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    policy: str = _POLICY
    is_module: bool = False
    """Whether both scripts are modules: ours imports the library's."""

    def page(self) -> Response:
        styles = "".join(f'  <link rel="stylesheet" href="{self.name}/{style}">\n' for style in self.styles)
        kind = ' type="module"' if self.is_module else ""
        page = _PAGE.format(name=self.name, script=self.script, styles=styles, kind=kind)
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": self.policy})

    def file(self, name: str) -> Response:
        """A script, style or image of the page; raises NotFound for anything else."""
        if name == "start.js":
            return send_from_directory(_STARTS, f"{self.name}.js")
        if name not in (self.script, *self.styles, *self.images):
            raise NotFound()
        try:
            return send_from_directory(self.folder, name, max_age=DAY)
        except NoSuchPath:
            raise NotFound() from None


_VIEWERS = (
    Viewer(
        name="docs",
        folder=Path(str(files("flask_swagger_ui"))) / "dist",
        script="swagger-ui-bundle.js",
        styles=("index.css", "swagger-ui.css"),
        images=("favicon-32x32.png",),
    ),
    Viewer(
        name="redoc",
        folder=Path(__file__).parent / "redoc",
        script="redoc.standalone.js",
        # ReDoc searches in a worker, which its script makes from a blob, and its script holds its icons.
        policy=f"{_POLICY}; worker-src blob:; font-src data:",
        is_module=True,
    ),
)


class ServedDocument:
    """The OpenAPI document as it is sent: built at the first request, then kept for the life of the process."""

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


def init_app(app: Flask) -> None:
    app.extensions["openapi_document"] = ServedDocument()
    app.add_url_rule("/api/openapi.json", "openapi", serve_document)
    for viewer in _VIEWERS:
        _add_viewer(app, viewer)


def _add_viewer(app: Flask, viewer: Viewer) -> None:
    @public
    def page() -> Response:
        return viewer.page()

    @public
    def file(name: str) -> Response:
        return viewer.file(name)

    app.add_url_rule(f"/api/{viewer.name}", viewer.name, page)
    app.add_url_rule(f"/api/{viewer.name}/<name>", f"{viewer.name}_file", file)


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
