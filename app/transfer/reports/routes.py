"""Downloading the report of an import."""

from pathlib import PurePath

from flask import Response

from app.core import audit
from app.core.api import Blueprint
from app.core.database import begin_writing
from app.core.envelope import FailureSchema
from app.core.security import Role, requires
from app.transfer import service
from app.transfer.exports.answers import XLSX, file_answer
from app.transfer.reports.service import report_of

blueprint = Blueprint("reports", __name__, url_prefix="/api/imports", description="Spreadsheets back")


@blueprint.get("/<int:import_id>/report.xlsx")
@requires(Role.USER)
@blueprint.alt_response(409, schema=FailureSchema, description="There is no plan of this import (yet).")
@blueprint.file_response(XLSX, "The workbook, marked.")
def report(import_id: int) -> Response:
    """The uploaded workbook with its mistakes marked, and with what becomes of each row."""
    job = service.visible(import_id)
    content = report_of(job)
    name = f"{PurePath(job.filename).stem}-report.xlsx"
    begin_writing()
    audit.record("export", "imports", job.id, name)
    return file_answer(lambda path: path.write_bytes(content), name, XLSX)[0]
