"""Making the report of an import, and keeping it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from app.core.db.unit_of_work import db, writing
from app.core.errors import Conflict, NotFound
from app.imports.models import RUNNING, Import, ImportFile
from app.imports.report.marks import marks_of
from app.imports.report.models import ImportReport
from app.sheets.limits import UnreadableWorkbook
from app.sheets.marking.in_place import mark_in_place
from app.sheets.marking.plain import write_plain
from app.sheets.workbook import FileKind, read_workbook

log = structlog.get_logger()


class NotReportable(Conflict):
    reason, message = "not_reportable", "There is no plan of this import, so there is nothing to report."


def report_of(job: Import) -> bytes:
    """The report as a workbook, made when it is first asked for; raises NotReportable or NotFound."""
    if job.status in RUNNING and not job.sheets:
        raise NotReportable("The plan of this import is not made yet.", headers={"Retry-After": "1"})
    if not job.sheets:
        raise NotReportable
    kept = db.session.get(ImportReport, job.id)
    if kept is not None:
        return kept.content
    file = db.session.get(ImportFile, job.id)
    if file is None:
        raise NotFound("The file of this import is no longer kept.")
    content = _make(job, file.content)
    with writing():
        db.session.merge(ImportReport(import_id=job.id, content=content))
    return content


def _make(job: Import, original: bytes) -> bytes:
    with TemporaryDirectory(prefix="report-") as directory:
        target = Path(directory, "report.xlsx")
        if FileKind.of(job.filename) is FileKind.TEXT or not _mark_in_place(job, original, target):
            with read_workbook(original, filename=job.filename) as book:
                write_plain(target, book.sheets, {marks.sheet: marks for marks in marks_of(job)})
        return target.read_bytes()


def _mark_in_place(job: Import, original: bytes, target: Path) -> bool:
    try:
        mark_in_place(original, target, marks_of(job))
    except UnreadableWorkbook as error:
        log.warning("report_without_formats", import_id=job.id, error=repr(error.__cause__ or error))
        return False
    return True
