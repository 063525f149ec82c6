"""Downloading the report of an import."""

from pathlib import PurePath

from flask import Response
from marshmallow import Schema, fields

from app.core.audit import recorder
from app.core.db.unit_of_work import writing
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.core.http.file_responses import XLSX, file_answer
from app.core.http.openapi.envelopes import envelope_of
from app.core.http.openapi.failures import FailureSchema
from app.core.http.openapi.operations import headers_of
from app.core.request_context import language_of_request
from app.imports import service
from app.imports.report.models import ReportStatus
from app.imports.report.service import get_report

blueprint = Blueprint("reports", __name__, url_prefix="/api/imports", description="Spreadsheets back")


class ReportSchema(Schema):
    """A report that is not ready yet."""

    import_id = fields.Integer(required=True)
    status = fields.Enum(ReportStatus, by_value=True, required=True)


@blueprint.get("/<int:import_id>/report.xlsx")
@requires(Role.USER)
@blueprint.alt_response(409, schema=FailureSchema, description="The import has no plan (yet).")
@blueprint.alt_response(
    202,
    schema=envelope_of(ReportSchema),
    headers=headers_of("Location", "Retry-After"),
    description="The report is being made in the background: ask again after `Retry-After` seconds.",
    success=True,
)
@blueprint.file_response(XLSX, "The workbook with its marks.")
def get_import_report(import_id: int) -> Response:
    """Download the uploaded workbook with its errors marked and the action of each row."""
    import_ = service.get(import_id)
    content = get_report(import_, language_of_request())
    if content is None:
        headers = {"Location": f"/api/imports/{import_id}/report.xlsx", "Retry-After": "1"}
        return success({"import_id": import_id, "status": ReportStatus.MAKING.value}, 202, headers=headers)
    name = f"{PurePath(import_.filename).stem}-report.xlsx"
    with writing():
        recorder.record("export", "imports", import_id, name)
    return file_answer(lambda path: path.write_bytes(content), name, XLSX)[0]
