"""Downloading the template of a resource."""

from typing import Any

from flask import Response
from marshmallow import Schema, fields
from marshmallow.validate import OneOf

from app.catalog import IMPORTABLE
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.file_responses import XLSX, file_answer
from app.exports.templates.workbook import write_template

blueprint = Blueprint("templates", __name__, url_prefix="/api/imports", description="Spreadsheets to fill in")


class TemplateQuerySchema(Schema):
    resource = fields.String(required=True, validate=OneOf(list(IMPORTABLE)))


@blueprint.get("/template.xlsx")
@requires(Role.USER)
@blueprint.arguments(TemplateQuerySchema, location="query")
@blueprint.file_response(XLSX, "The workbook, with an example row that is not imported.")
def get_import_template(query: dict[str, Any]) -> Response:
    """Download an empty workbook for a resource, with drop-down lists of choices and related objects."""
    resource = IMPORTABLE[query["resource"]]
    return file_answer(lambda path: write_template(path, resource), f"{resource.name}-template.xlsx", XLSX)[0]
