"""`GET /api/dashboard`: the totals and breakdowns of the first page."""

from typing import Any

from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.values import utcnow
from app.dashboard import service
from app.dashboard.schemas import DashboardSchema

blueprint = Blueprint("dashboard", __name__, url_prefix="/api/dashboard", description="The first page")


@blueprint.get("")
@requires(Role.USER)
@blueprint.response(200, DashboardSchema)
def get_dashboard() -> dict[str, Any]:
    """The totals and breakdowns of everything that you may read."""
    return service.overview(current_actor(), utcnow().date())
