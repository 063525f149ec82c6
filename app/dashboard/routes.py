"""`GET /api/dashboard`: the totals and breakdowns of the first page."""

from typing import Any

from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.values import utcnow
from app.dashboard import growth, service
from app.dashboard.schemas import DashboardSchema, GrowthQuerySchema, GrowthSchema

blueprint = Blueprint("dashboard", __name__, url_prefix="/api/dashboard", description="The first page")


@blueprint.get("")
@requires(Role.USER)
@blueprint.response(200, DashboardSchema)
def get_dashboard() -> dict[str, Any]:
    """The totals and breakdowns of everything that you may read."""
    return service.overview(current_actor(), utcnow().date())


@blueprint.get("/growth")
@requires(Role.USER)
@blueprint.arguments(GrowthQuerySchema, location="query")
@blueprint.response(200, GrowthSchema)
def get_growth(query: dict[str, int]) -> dict[str, Any]:
    """The number of objects at the end of each of the last days, from those that exist and the audit log."""
    return growth.growth(utcnow().date(), query["days"])
