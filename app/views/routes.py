"""`/api/views`: saved views."""

from typing import Any

from flask import Response
from marshmallow import Schema, fields

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, success
from app.core.http.paging import PageSchema, fetch_page
from app.resource import Text
from app.views import service
from app.views.models import MAX_QUERY

blueprint = Blueprint("views", __name__, url_prefix="/api/views", description="Saved views")


_QUERY = {"description": "The query string of the list.", "example": "status=active&sort=-name"}


class SavedViewPatchSchema(Schema):
    name = Text(length=100)
    query = Text(length=MAX_QUERY, metadata=_QUERY)
    shared = fields.Boolean(metadata={"description": "Whether everybody sees it. Default: `false`."})


class SavedViewInputSchema(SavedViewPatchSchema):
    resource = Text(required=True, length=64, metadata={"example": "servers"})
    name = Text(required=True, length=100)
    query = Text(required=True, length=MAX_QUERY, metadata=_QUERY)


class SavedViewSchema(Schema):
    id = fields.Integer(required=True)
    resource = fields.String(required=True)
    name = fields.String(required=True)
    query = fields.String(required=True, metadata={"description": "The query string of the list."})
    shared = fields.Boolean(required=True)
    owner = fields.String(required=True, metadata={"description": "The user whose view it is."})
    created_at = fields.AwareDateTime(required=True)


class SavedViewQuerySchema(PageSchema):
    resource = fields.String(metadata={"description": "Only views of this resource, or of several (`servers,gpus`)."})


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(SavedViewQuerySchema, location="query")
@blueprint.response(200, SavedViewSchema, many=True)
def list_views(query: dict[str, Any]) -> Page:
    """My saved views and those that are shared, by name."""
    return fetch_page(service.visible(query.get("resource")), query["page"], query["page_size"])


@blueprint.post("")
@requires(Role.USER)
@blueprint.arguments(SavedViewInputSchema)
@blueprint.response(201, SavedViewSchema)
def create_view(body: dict[str, Any]) -> Response:
    """Save a view of a list."""
    return success(service.create(body), 201)


@blueprint.patch("/<int:view_id>")
@requires(Role.USER)
@blueprint.arguments(SavedViewPatchSchema)
@blueprint.response(200, SavedViewSchema)
def change_view(body: dict[str, Any], view_id: int) -> Response:
    """Rename a view, share it with everybody, or replace its query."""
    return success(service.change(view_id, body))


@blueprint.delete("/<int:view_id>")
@requires(Role.USER)
@blueprint.response(200)
def delete_view(view_id: int) -> Response:
    """Delete a saved view."""
    service.delete(view_id)
    return success(None)
