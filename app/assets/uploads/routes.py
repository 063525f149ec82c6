"""Sending a picture as a file that a browser shows, and never runs."""

import os
from typing import Any, cast

from flask import Response, request, send_file

from app.assets.images import open_shown
from app.assets.pictures import KINDS
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint

CONTENT: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for _, kind in KINDS.values()}
HEADERS = {
    # A name stands for one content forever; it is nobody else's to keep.
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}

blueprint = Blueprint("uploads", __name__, url_prefix="/api/uploads", description="Pictures")


@blueprint.get("/<name>")
@requires(Role.USER)
@blueprint.not_modified
@blueprint.doc(responses={200: {"description": "The picture.", "content": CONTENT}})
def read(name: str) -> Response:
    """Download the picture of an asset."""
    stream, content_type = open_shown(name)
    # Not conditional here: a part of a picture is nothing that anybody asks for.
    response = send_file(stream, content_type, conditional=False, etag=False)
    response.content_length = os.fstat(stream.fileno()).st_size
    response.headers.update(HEADERS)
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    response.set_etag(name)
    return cast(Response, response.make_conditional(request))
