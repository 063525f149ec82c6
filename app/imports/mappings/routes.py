"""The user's remembered mappings: which there are, and forgetting one."""

from flask import Response
from marshmallow import Schema, fields

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, Pagination, success
from app.core.http.paging import PageSchema
from app.imports.mappings import service
from app.imports.mappings.models import ImportMapping

blueprint = Blueprint(
    "mappings", __name__, url_prefix="/api/imports/mappings", description="What columns mean, remembered"
)


class MappingSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    mapping = fields.Dict(
        required=True, metadata={"description": "{<column title>: <field>}, or null for a column that is left out."}
    )
    resources = fields.List(
        fields.String(), required=True, metadata={"description": "What the sheets hold by whose titles it is known."}
    )
    created_at = fields.AwareDateTime(required=True)
    used_at = fields.AwareDateTime(required=True, allow_none=True)


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, MappingSchema, many=True)
def list_mappings(query: dict[str, int]) -> Page:
    """My mappings by name; nobody else sees them."""
    found = service.own_mappings()
    page, size = query["page"], query["page_size"]
    shown = found[(page - 1) * size : page * size]
    return Page([_render(mapping) for mapping in shown], Pagination(page, size, len(found)))


@blueprint.delete("/<int:mapping_id>")
@requires(Role.USER)
@blueprint.response(200)
def forget(mapping_id: int) -> Response:
    """Forget a mapping; what was imported with it stays."""
    service.forget(mapping_id)
    return success(None)


def _render(mapping: ImportMapping) -> dict[str, object]:
    return {
        "id": mapping.id,
        "name": mapping.name,
        "mapping": mapping.mapping,
        "resources": sorted(set(mapping.sheets.values())),
        "created_at": mapping.created_at,
        "used_at": mapping.used_at,
    }
