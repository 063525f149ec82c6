"""`/api/downloads`: links by which a browser downloads a file by itself."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from flask import current_app
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import HTTPException

from app.core.errors import Invalid, RoleNeeded
from app.core.http.access import Role, access_of, current_actor, public, requires
from app.core.http.api import Blueprint
from app.core.http.application import unversioned
from app.core.http.openapi.operations import View, file_responses
from app.core.messages import tr
from app.downloads.links import DownloadLinkInvalid, Link, Links

MAX_PATH_CHARS = 4000
ANY_FILE = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
OF_PATHS = {
    202: {"description": "The file is being made: make another link.", "content": ANY_FILE},
    **{
        status: {"$ref": f"#/components/responses/{name}"}
        for status, name in (
            (304, "NotModified"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (409, "Conflict"),
            (422, "Invalid"),
        )
    },
}
"""What the path of a file answers too: its session has ended, its user may not read it any more, there is no plan."""

blueprint = Blueprint("downloads", __name__, url_prefix="/api/downloads", description="Links to download files")


class DownloadSchema(Schema):
    path = fields.String(
        required=True,
        validate=validate.Length(1, MAX_PATH_CHARS),
        metadata={
            "description": "The path of a GET that answers with a file, with its parameters.",
            "example": "/api/servers/export?format=xlsx&status=active",
        },
    )


class DownloadLinkSchema(Schema):
    url = fields.String(required=True, metadata={"description": "A path of this server; it works once."})
    expires_at = fields.DateTime(required=True)


@blueprint.post("")
@requires(Role.USER)
@blueprint.arguments(DownloadSchema)
@blueprint.response(201, DownloadLinkSchema)
def create_download(body: dict[str, str]) -> dict[str, Any]:
    """Make a link that downloads a file once, within a minute and without a token, as long as you may read it."""
    path, query = _parse_path(body["path"])
    links: Links = current_app.extensions["download_links"]
    link = Link.of(current_actor(), path, query)
    return {"url": links.url(link), "expires_at": datetime.fromtimestamp(link.expires_at, UTC)}


@blueprint.get("/<token>")
@public
@blueprint.doc(responses={**file_responses("The file, as its own path answers.", ANY_FILE, "ETag"), **OF_PATHS})
def get_download(token: str) -> None:
    """Download the file of a link. Any other answer is that of the path; a link that is not valid any more is a 404."""
    # A valid link never comes here: it has become the request for its path.
    raise DownloadLinkInvalid


def _parse_path(text: str) -> tuple[str, str]:
    """The path as WSGI has it, and the query; raises Invalid, and RoleNeeded if the file is not for this user."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _not_a_file() from None
    if parts.scheme or parts.netloc or parts.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise _not_a_file()
    path = unversioned(unquote_to_bytes(parts.path).decode("latin-1"))
    if ".." in path.split("/"):
        raise _not_a_file()
    access = access_of(_view_at(path))
    if isinstance(access, Role) and not current_actor().role.covers(access):
        raise RoleNeeded
    return path, parts.query


def _view_at(path: str) -> View:
    """The view behind a path that answers signed-in users with a file; raises Invalid."""
    try:
        decoded = path.encode("latin-1").decode()
        endpoint, _ = current_app.url_map.bind("").match(decoded, "GET")
    except (HTTPException, UnicodeDecodeError):
        raise _not_a_file() from None
    view = current_app.view_functions[endpoint]
    if not _answers_with_file(view) or not isinstance(access_of(view), Role):
        raise _not_a_file()
    return view


def _answers_with_file(view: View) -> bool:
    """Whether the answer that a view documents is a file."""
    docs: dict[str, Any] = view.__dict__.get("_apidoc", {})
    declared = list(docs.get("response", {}).get("responses", {}).get(200, ()))
    by_hand = docs.get("manual_doc", {}).get("responses", {}).get(200, {})
    declared += by_hand.get("content", {}).values()
    schemas = [answer.get("schema") for answer in declared if isinstance(answer, Mapping)]
    return any(isinstance(schema, Mapping) and schema.get("format") == "binary" for schema in schemas)


def _not_a_file() -> Invalid:
    message = tr("Must be the path of a file to download, such as /api/servers/export?format=csv.", rule="format")
    return Invalid(errors={"path": [message]})
