"""HTTP routes of saved mappings: list, change and delete."""

from typing import Any

from flask import Response
from marshmallow import Schema, fields
from marshmallow.validate import Length

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, Pagination, success
from app.core.http.paging import PageSchema
from app.imports.mappings import service
from app.imports.mappings.models import ImportMapping
from app.imports.settings import OF_RESOURCE
from app.imports.settings_schemas import CellText, Map, SheetSettingsSchema

blueprint = Blueprint("mappings", __name__, url_prefix="/api/imports/mappings", description="Saved mappings of columns")


class ImportMappingPatchSchema(Schema):
    name = CellText(validate=Length(1, 100))
    shared = fields.Boolean(metadata={"description": "Whether it applies to the imports of everybody."})


class SavedSheetSchema(SheetSettingsSchema):
    """How a sheet with these titles is read; settings that name columns do so by title."""

    class Meta:
        fields = ("resource", "titles", *OF_RESOURCE)

    titles = fields.List(fields.String(), required=True)
    columns = Map(keys=fields.String(), values=fields.String(allow_none=True), required=True)


class ImportMappingSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    mapping = fields.Dict(
        keys=fields.String(),
        values=fields.String(allow_none=True),
        required=True,
        metadata={"description": "The field of each column title; null for a column that is ignored."},
    )
    resources = fields.List(
        fields.String(), required=True, metadata={"description": "The resources of the sheets that it was used for."}
    )
    sheets = fields.List(
        fields.Nested(SavedSheetSchema), required=True, metadata={"description": "How each sheet is read."}
    )
    shared = fields.Boolean(required=True)
    owner = fields.String(required=True, metadata={"description": "The user whose mapping it is."})
    created_at = fields.AwareDateTime(required=True)
    used_at = fields.AwareDateTime(required=True, allow_none=True)


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, ImportMappingSchema, many=True)
def list_import_mappings(query: dict[str, int]) -> Page:
    """My saved mappings and those that are shared, by name."""
    mappings = service.visible_mappings()
    page, size = query["page"], query["page_size"]
    shown = mappings[(page - 1) * size : page * size]
    return Page([_render(mapping, owner) for mapping, owner in shown], Pagination(page, size, len(mappings)))


@blueprint.patch("/<int:mapping_id>")
@requires(Role.USER)
@blueprint.arguments(ImportMappingPatchSchema)
@blueprint.response(200, ImportMappingSchema)
def change_import_mapping(body: dict[str, Any], mapping_id: int) -> Response:
    """Rename a saved mapping, share it with everybody, or take it back."""
    return success(_render(*service.change(mapping_id, body)))


@blueprint.delete("/<int:mapping_id>")
@requires(Role.USER)
@blueprint.response(200)
def delete_import_mapping(mapping_id: int) -> Response:
    """Delete a saved mapping; objects that were imported with it stay."""
    service.delete(mapping_id)
    return success(None)


def _render(mapping: ImportMapping, owner: str) -> dict[str, object]:
    return {
        "id": mapping.id,
        "name": mapping.name,
        "mapping": mapping.mapping,
        "resources": sorted({sheet["resource"] for sheet in mapping.sheets}),
        "sheets": mapping.sheets,
        "shared": mapping.shared,
        "owner": owner,
        "created_at": mapping.created_at,
        "used_at": mapping.used_at,
    }
