"""`GET /api/meta`: from which a front end builds its lists, forms and import templates."""

from typing import Any

from flask import Response, current_app

from app.core.audit.actions import ACTIONS, EVENT_TYPES
from app.core.http.access import Role, current_actor, public, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.core.http.paging import MAX_PAGE_SIZE
from app.core.messages import LANGUAGES
from app.meta.labels import choices_of_terms
from app.meta.resources import describe_resources
from app.meta.schemas import FeaturesSchema, MetaSchema
from app.resource import MAX_ATTRIBUTES, MAX_BULK_ITEMS, MAX_BULK_MATCHED
from app.version import VERSION

blueprint = Blueprint("meta", __name__, url_prefix="/api/meta", description="What a front end needs to know")


@blueprint.get("")
@requires(Role.USER)
@blueprint.response(200, MetaSchema)
def get_meta() -> Response:
    """What you may read and write, as a person sees it, and what this installation can do."""
    return success(
        {
            "version": VERSION,
            "languages": LANGUAGES,
            "limits": _limits(),
            "features": _features(),
            "resources": describe_resources(current_actor()),
            "audit_actions": choices_of_terms(ACTIONS),
            "audit_events": choices_of_terms(EVENT_TYPES),
        },
        headers={"Cache-Control": "no-cache"},
    )


@blueprint.get("/features")
@public
@blueprint.response(200, FeaturesSchema)
def get_features() -> dict[str, bool]:
    """What is switched on, for those who are not signed in: whether they may register, or have a link mailed."""
    return _features()


def _limits() -> dict[str, Any]:
    return {
        "page_size": MAX_PAGE_SIZE,
        "bulk_items": MAX_BULK_ITEMS,
        "bulk_matched": MAX_BULK_MATCHED,
        "attributes": MAX_ATTRIBUTES,
        "upload_mb": current_app.config["MAX_UPLOAD_MB"],
        "import_mb": current_app.config["MAX_IMPORT_MB"],
    }


def _features() -> dict[str, bool]:
    config = current_app.config
    return {
        "registration": config["REGISTRATION_ENABLED"],
        "descriptions": bool(config["AI_BASE_URL"]),
        "mail": bool(config["MAIL_SERVER"]),
        "places": config["GEOIP_DATABASE"] is not None,
    }
