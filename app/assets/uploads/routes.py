"""The download of an asset's image, with headers that keep a browser from executing it."""

import os
from typing import Any, cast

from flask import Response, request, send_file

from app.assets.image_processing import FORMATS
from app.assets.image_store import open_image
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.openapi.operations import file_responses

CONTENT: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for _, kind in FORMATS.values()}
HEADERS = {
    # The content of a name never changes; `private`, because only signed-in users may see it.
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}

blueprint = Blueprint("uploads", __name__, url_prefix="/api/uploads", description="Asset images")


@blueprint.get("/<name>")
@requires(Role.USER)
@blueprint.not_modified
@blueprint.doc(responses=file_responses("The image.", CONTENT, "ETag"))
def get_upload(name: str) -> Response:
    """Download an asset's image."""
    stream, content_type = open_image(name)
    # conditional=False: Range requests are not supported. The ETag is handled below.
    response = send_file(stream, content_type, conditional=False, etag=False)
    response.content_length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    response.headers.update(HEADERS)
    response.set_etag(name)
    response = cast(Response, response.make_conditional(request))
    if response.status_code == 200:
        response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    return response
