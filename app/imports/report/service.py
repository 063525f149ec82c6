"""Make the report of an import, within the request or in the background, and store it."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
import structlog

from app.core.db.statements import insert_missing
from app.core.db.unit_of_work import db, reading, writing
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Runner
from app.core.messages import tr
from app.core.values import utcnow
from app.imports.models import Import, ImportFile, ImportStatus
from app.imports.report.marks import marks_of
from app.imports.report.models import ImportReport, ReportStatus
from app.sheets.limits import UnreadableWorkbook
from app.sheets.marking.in_place import mark_in_place
from app.sheets.marking.plain import write_plain
from app.sheets.workbook import FileKind, read_workbook

REPORT = "import.report"

# A report within these limits takes a third of a second and is made within the request.
MAX_REQUEST_ROWS = 1000
MAX_REQUEST_BYTES = 1 << 20
RETRY_DELAY = timedelta(minutes=1)
"""Time after which a request starts a failed report again."""

reports = ImportReport.__table__
log = structlog.get_logger()


class NotReportable(Conflict):
    reason, message = "not_reportable", tr("This import has no plan, so there is nothing to report.")


class ReportFailed(Unavailable):
    reason, message = (
        "report_failed",
        tr("The report could not be made. The error has been logged; try again in a minute."),
    )


def register_jobs(runner: Runner) -> None:
    runner.register(REPORT, make_report, report_failed)


def get_report(import_: Import, language: str) -> bytes | None:
    """The report in a language as a workbook, or None while a background job makes it.

    The first request makes a small report and queues a large one. Raises NotReportable, ReportFailed, and NotFound if
    the uploaded file has been deleted.
    """
    if import_.status in (ImportStatus.QUEUED, ImportStatus.VALIDATING):
        raise NotReportable(tr("This import has no plan yet."), headers={"Retry-After": "1"})
    if not import_.sheets:
        raise NotReportable
    report = db.session.get(ImportReport, (import_.id, language))
    if report is None:
        return _start(import_, language)
    if report.status is ReportStatus.FAILED:
        if report.changed_at > utcnow() - RETRY_DELAY:
            raise ReportFailed
        return _start(import_, language)
    return report.content


def make_report(import_id: int) -> None:
    """Job: make the queued reports of an import, one for each language that was asked for.

    Does nothing if another worker has finished them, so it may run any number of times.
    """
    making = reports.c.import_id == import_id, reports.c.status == ReportStatus.MAKING
    with reading():
        languages = db.session.scalars(sa.select(reports.c.language).where(*making)).all()
    for language in languages:
        with reading():
            content = _make(db.session.get_one(Import, import_id), language)
        with writing():
            _end(import_id, ReportStatus.READY, content, language)


def report_failed(import_id: int, _message: str) -> None:
    """Store that a report has failed for good, in the transaction that ends its job."""
    _end(import_id, ReportStatus.FAILED)


def _start(import_: Import, language: str) -> bytes | None:
    """Make a small report, or queue the job for a large one. Of simultaneous requests one queues it."""
    import_id = import_.id
    size = sa.select(sa.func.length(ImportFile.content)).where(ImportFile.import_id == import_id)
    file_bytes = db.session.scalar(size)
    if file_bytes is None:
        raise NotFound(tr("The file of this import has been deleted."))
    content = None
    if import_.total <= MAX_REQUEST_ROWS and file_bytes <= MAX_REQUEST_BYTES:
        content = _make(import_, language)
    status = ReportStatus.MAKING if content is None else ReportStatus.READY
    key = {"import_id": import_id, "language": language}
    new = insert_missing(reports).values(**key, status=status, content=content, changed_at=utcnow())
    with writing():
        failed = sa.delete(reports).filter_by(**key).where(reports.c.status == ReportStatus.FAILED)
        db.session.execute(failed)
        inserted = db.session.scalar(new.returning(reports.c.import_id))
        if inserted is not None and content is None:
            enqueue(REPORT, import_id)
    return content


def _end(import_id: int, status: ReportStatus, content: bytes | None = None, language: str | None = None) -> None:
    """End the making of the report in a language, or of all that are being made."""
    making = [reports.c.import_id == import_id, reports.c.status == ReportStatus.MAKING]
    if language is not None:
        making.append(reports.c.language == language)
    values = {"status": status, "content": content, "changed_at": utcnow()}
    db.session.execute(sa.update(reports).where(*making).values(values))


def _make(import_: Import, language: str) -> bytes:
    original = db.session.get_one(ImportFile, import_.id).content
    with TemporaryDirectory(prefix="report-") as directory:
        target = Path(directory, "report.xlsx")
        if FileKind.of(import_.filename) is FileKind.TEXT or not _mark_in_place(import_, language, original, target):
            with read_workbook(original, filename=import_.filename, encoding=import_.encoding) as book:
                write_plain(target, book.sheets, {marks.sheet: marks for marks in marks_of(import_, language)})
        return target.read_bytes()


def _mark_in_place(import_: Import, language: str, original: bytes, target: Path) -> bool:
    try:
        mark_in_place(original, target, marks_of(import_, language))
    except UnreadableWorkbook as error:
        log.warning("report_without_formats", import_id=import_.id, error=repr(error.__cause__ or error))
        return False
    return True
