"""`GET /api/events`: the change feed that front ends poll."""

from flask import Response, request

from app.catalog import readable_types
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.events.schemas import FeedQuerySchema, FeedSchema
from app.events.service import select_events, window_after

blueprint = Blueprint("events", __name__, url_prefix="/api/events", description="The change feed")


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(FeedQuerySchema, location="query")
@blueprint.response(200, FeedSchema)
def list_events(query: dict[str, str]) -> Response:
    """The changes after a cursor, without gaps and in order for each object."""
    # First, because its query is sent together with the question who asks.
    window = window_after(query.get("after"))
    actor = current_actor()
    types = readable_types(actor, query.get("types"))
    tag = f"{window.begin}-{window.end}-{actor.role.value}"
    headers = {"ETag": f'"{tag}"'}
    if request.if_none_match.contains(tag):
        return Response(status=304, headers=headers)
    events = select_events(window, types)
    return success({"events": events, "cursor": window.cursor, "more": window.has_more}, headers=headers)
