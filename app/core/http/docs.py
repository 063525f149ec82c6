"""The page on which people read and try the API: Swagger UI over our own OpenAPI document, nothing from elsewhere."""

from importlib.resources import files
from pathlib import Path

from flask import Flask, Response, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchPath

from app.core.errors import NotFound
from app.core.http.access import public

_SHIPPED = Path(str(files("flask_swagger_ui"))) / "dist"
_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "index.css", "favicon-32x32.png"})
DAY = 86_400

# Its scripts and styles come from us. React sets styles of elements, which a policy without 'unsafe-inline' refuses.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Relative, so that it also works where a proxy serves us under a path of its own.
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

# Closed at first: open, so many operations and their filters take a browser seconds to draw.
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


@public
def show() -> Response:
    """The page."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})


@public
def send_file(name: str) -> Response:
    """What the page loads; raises NotFound for anything else."""
    if name == "start.js":
        return Response(_START, mimetype="text/javascript")
    if name not in _FILES:
        raise NotFound()
    try:
        return send_from_directory(_SHIPPED, name, max_age=DAY)
    except NoSuchPath:
        raise NotFound() from None


def init_app(app: Flask) -> None:
    app.add_url_rule("/api/docs", "docs", show)
    app.add_url_rule("/api/docs/<name>", "docs_file", send_file)
