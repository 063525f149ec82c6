"""HTTP routes of saved mappings: list and delete."""

from flask import Response
from marshmallow import Schema, fields

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, Pagination, success
from app.core.http.paging import PageSchema
from app.imports.mappings import service
from app.imports.mappings.models import ImportMapping

blueprint = Blueprint("mappings", __name__, url_prefix="/api/imports/mappings", description="Saved mappings of columns")


class ImportMappingSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    mapping = fields.Dict(
        required=True, metadata={"description": "{<column title>: <field>}, or null for a column that is ignored."}
    )
    resources = fields.List(
        fields.String(), required=True, metadata={"description": "The resources of the sheets that it was used for."}
    )
    created_at = fields.AwareDateTime(required=True)
    used_at = fields.AwareDateTime(required=True, allow_none=True)


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, ImportMappingSchema, many=True)
def list_import_mappings(query: dict[str, int]) -> Page:
    """My saved mappings by name; they are private."""
    mappings = service.own_mappings()
    page, size = query["page"], query["page_size"]
    shown = mappings[(page - 1) * size : page * size]
    return Page([_render(mapping) for mapping in shown], Pagination(page, size, len(mappings)))


@blueprint.delete("/<int:mapping_id>")
@requires(Role.USER)
@blueprint.response(200)
def delete_import_mapping(mapping_id: int) -> Response:
    """Delete a saved mapping; objects that were imported with it stay."""
    service.delete(mapping_id)
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
