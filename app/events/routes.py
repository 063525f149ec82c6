"""The change feed: what changed since, for front ends that show it."""

from flask import Response, request

from app.catalog import readable_types
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.events.schemas import FeedQuerySchema, FeedSchema
from app.events.service import select_events, stretch_after

blueprint = Blueprint("events", __name__, url_prefix="/api/events", description="What changed since")

ETAG = {"ETag": "For If-None-Match: 304 as long as nothing has happened."}


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(FeedQuerySchema, location="query")
@blueprint.response(200, FeedSchema, headers=ETAG)
@blueprint.not_modified
def feed(query: dict[str, str]) -> Response:
    """What changed since the last answer, complete and for each object in order."""
    actor = current_actor()
    types = readable_types(actor, query.get("types"))
    stretch = stretch_after(query.get("after"))
    tag = f"{stretch.begin}-{stretch.end}-{actor.role.value}"
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if request.if_none_match.contains(tag):
        return Response(status=304, headers=headers)
    found = {"events": select_events(stretch, types), "cursor": stretch.cursor, "more": stretch.has_more}
    return success(found, headers=headers)
