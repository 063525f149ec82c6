"""Making the report of an import, and keeping it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import structlog

from app.core.db.unit_of_work import db, writing
from app.core.errors import Conflict, NotFound
from app.imports.map.columns import ColumnUse
from app.imports.models import RUNNING, Import, ImportFile
from app.imports.report.marks import MarkedRow, marked_rows
from app.imports.report.models import ImportReport
from app.imports.report.plain import write_plain
from app.sheets.child import MARKS, run_program
from app.sheets.column_letters import column_index
from app.sheets.limits import Limits, UnreadableWorkbook
from app.sheets.package import check_package
from app.sheets.workbook import FileKind, Sheet, read_workbook

MOST_MARKED_BYTES = 96 << 20
"""Of a larger workbook, unpacked, the values come back without their formats."""
MOST_REWRITTEN_BYTES = 24 << 20
"""And of one as large as this that has to be written anew to be marked, because that takes a minute."""

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
        if not _mark(job, original, Path(directory), target):
            with read_workbook(original, filename=job.filename) as book:
                write_plain(target, _with_marks(job, book.sheets))
        return target.read_bytes()


def _mark(job: Import, original: bytes, directory: Path, target: Path) -> bool:
    """Mark the user's own workbook; false where that is not possible, and its values must do."""
    if FileKind.of(job.filename) is FileKind.TEXT:
        return False
    path, marks = directory / "original.xlsx", directory / "marks"
    path.write_bytes(original)
    with path.open("rb") as file:
        unpacked_bytes = check_package(file, Limits()).unpacked_bytes
    if unpacked_bytes > MOST_MARKED_BYTES:
        return False
    with marks.open("wb") as lines:
        lines.writelines(orjson.dumps(fact, option=orjson.OPT_APPEND_NEWLINE) for fact in _facts(job))
    options = {
        "path": str(path),
        "marks": str(marks),
        "target": str(target),
        "unpacked_bytes": unpacked_bytes,
        "rewritten_bytes": MOST_REWRITTEN_BYTES,
    }
    try:
        run_program(MARKS, options, unpacked_bytes, Limits(), directory / "output")
    except UnreadableWorkbook as error:
        log.warning("report_without_formats", import_id=job.id, error=repr(error.__cause__ or error))
        return False
    return True


def _facts(job: Import) -> Iterator[dict[str, Any]]:
    """The lines that the program reads."""
    for sheet in _planned_sheets(job):
        status = next(
            (column["column"] for column in sheet["columns"] if column["use"] == ColumnUse.STATUS.value), None
        )
        place = column_index(status) if status else None
        yield {"sheet": sheet["sheet"], "header_row": sheet["header_row"], "status_column": place}
        for row in marked_rows(job, sheet):
            marks = [(mark.column, mark.kind, mark.text) for mark in row.marks]
            yield {"row": row.row, "status": row.status, "marks": marks}


def _with_marks(job: Import, sheets: tuple[Sheet, ...]) -> Iterator[tuple[Sheet, int, dict[int, MarkedRow]]]:
    planned = {sheet["sheet"]: sheet for sheet in _planned_sheets(job)}
    for sheet in sheets:
        if sheet.name in planned:
            facts = planned[sheet.name]
            yield sheet, facts["header_row"], {row.row: row for row in marked_rows(job, facts)}
        else:
            yield sheet, 0, {}


def _planned_sheets(job: Import) -> list[dict[str, Any]]:
    return [sheet for sheet in job.sheets if sheet["resource"] is not None]
