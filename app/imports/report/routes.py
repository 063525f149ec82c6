"""Downloading the report of an import."""

from pathlib import PurePath

from flask import Response

from app.core.audit import recorder
from app.core.db.unit_of_work import writing
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import FailureSchema
from app.core.http.file_responses import XLSX, file_answer
from app.imports import service
from app.imports.report.service import report_of

blueprint = Blueprint("reports", __name__, url_prefix="/api/imports", description="Spreadsheets back")


@blueprint.get("/<int:import_id>/report.xlsx")
@requires(Role.USER)
@blueprint.alt_response(409, schema=FailureSchema, description="There is no plan of this import (yet).")
@blueprint.file_response(XLSX, "The workbook, marked.")
def report(import_id: int) -> Response:
    """The uploaded workbook with its mistakes marked, and with what becomes of each row."""
    job = service.get(import_id)
    content = report_of(job)
    name = f"{PurePath(job.filename).stem}-report.xlsx"
    with writing():
        recorder.record("export", "imports", job.id, name)
    return file_answer(lambda path: path.write_bytes(content), name, XLSX)[0]
