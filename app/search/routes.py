"""`GET /api/search`: one search over every resource."""

from typing import Any

from app.catalog import readable_types
from app.core.errors import BadParameter
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.messages import tr
from app.core.values import clean_text
from app.search import service
from app.search.schemas import SearchHitsSchema, SearchQuerySchema

blueprint = Blueprint("search", __name__, url_prefix="/api/search", description="Search")


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(SearchQuerySchema, location="query")
@blueprint.response(200, SearchHitsSchema)
def search(query: dict[str, Any]) -> dict[str, Any]:
    """Search all resources at once, by all words; typos are forgiven where nothing holds them."""
    try:
        text = clean_text(query["q"])
    except ValueError as error:
        raise BadParameter(tr("{parameter}: {problem}", parameter="q", problem=error.args[0]), parameter="q") from None
    if not text:
        raise BadParameter(tr("{parameter} must not be empty.", parameter="q"), parameter="q")
    types = readable_types(current_actor(), query.get("types"))
    return service.search(text, types, query["limit"])
