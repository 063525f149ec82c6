"""`POST /api/demo`: the sample estate."""

from typing import Any

from flask import Response
from marshmallow import Schema, fields

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.core.http.openapi.failures import FailureSchema
from app.demo import service

blueprint = Blueprint("demo", __name__, url_prefix="/api/demo", description="A sample estate")


class DemoSchema(Schema):
    import_id = fields.Integer(
        required=True, metadata={"description": "The import that creates it; its revert removes it."}
    )


@blueprint.post("")
@requires(Role.ADMIN)
@blueprint.response(202, DemoSchema)
@blueprint.alt_response(409, schema=FailureSchema, description="The installation is not empty.")
def create_sample_estate() -> Response:
    """Import a sample estate into an empty installation; revert the import to remove it."""
    answered: dict[str, Any] = {"import_id": service.request_estate()}
    return success(answered, 202)
