"""`GET /api/dashboard`: the totals and breakdowns of the first page."""

from typing import cast

from flask import Response, request

from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.core.values import utcnow
from app.dashboard import service
from app.dashboard.schemas import DashboardSchema

blueprint = Blueprint("dashboard", __name__, url_prefix="/api/dashboard", description="The first page")


@blueprint.get("")
@requires(Role.USER)
@blueprint.not_modified
@blueprint.response(200, DashboardSchema, headers=["ETag"])
def get_dashboard() -> Response:
    """The totals and breakdowns of everything that you may read."""
    response = success(service.overview(current_actor(), utcnow().date()))
    response.add_etag()
    return cast(Response, response.make_conditional(request))
