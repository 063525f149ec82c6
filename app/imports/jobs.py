"""The jobs behind an import: its file is read and planned, its plan applied."""

from dataclasses import replace
from itertools import groupby
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from app.catalog import IMPORTABLE
from app.core.db.errors import from_database
from app.core.db.unit_of_work import act_in, current_context, db, reading, transactional, writing
from app.core.errors import ApiError
from app.core.http.access import Actor, act_as
from app.core.jobs.runner import Runner
from app.core.values import utcnow
from app.imports.apply.apply import apply_plan
from app.imports.apply.conflicts import all_conflicts
from app.imports.map.layout import find_tables
from app.imports.map.tables import Table
from app.imports.mappings.service import learn, recall
from app.imports.models import Action, Import, ImportFile, ImportStatus, move
from app.imports.parse.row_parser import read_drafts
from app.imports.parse.rows import Draft
from app.imports.plan.merge_rows import Planned
from app.imports.plan.planner import Planner
from app.imports.plan.store import store
from app.imports.progress import Progress, Stopped
from app.imports.revert import revert
from app.resource.bulk.writer import StaleVersion
from app.sheets.workbook import UnreadableWorkbook, Workbook, read_workbook
from app.users.models import User

log = structlog.get_logger()

PLAN, APPLY, REVERT = "import.plan", "import.apply", "import.revert"
ON_THE_WAY = (ImportStatus.QUEUED, ImportStatus.VALIDATING, ImportStatus.APPLYING)
RUNNING = (*ON_THE_WAY, ImportStatus.REVERTING)


def register_jobs(runner: Runner) -> None:
    runner.register(PLAN, make_plan, give_up)
    runner.register(APPLY, carry_out, give_up)
    runner.register(REVERT, take_back, keep)


def make_plan(import_id: int) -> None:
    """Store what each row of the file would do, and do it where the upload said so; the job behind an upload.

    It goes on wherever a worker that died has left it.
    """
    with writing():
        unplanned = (ImportStatus.QUEUED, ImportStatus.VALIDATING)
        begun = move(import_id, unplanned, ImportStatus.VALIDATING, phase="reading")
    if begun:
        _read_and_plan(import_id)
    with writing():
        job = db.session.get_one(Import, import_id, populate_existing=True)
        if job.apply_at_once:
            move(import_id, (ImportStatus.READY,), ImportStatus.APPLYING, phase="applying")
    if job.apply_at_once:
        carry_out(import_id)


def _read_and_plan(import_id: int) -> None:
    with reading():
        job = db.session.get_one(Import, import_id)
        actor = _act_for(job)
        content = db.session.get_one(ImportFile, import_id).content
    try:
        with read_workbook(content, filename=job.filename) as book:
            _plan_workbook(job, book, actor)
    except UnreadableWorkbook as error:
        problem = {"reason": error.reason, "message": str(error)}
        with writing():
            _finish(import_id, ImportStatus.VALIDATING, ImportStatus.INVALID, problem=problem)
    except Stopped:
        _cancel(import_id, ImportStatus.VALIDATING)


def carry_out(import_id: int) -> None:
    """Apply a plan in one transaction; the job behind an application."""
    with reading():
        job = db.session.get_one(Import, import_id, populate_existing=True)
        if job.status is not ImportStatus.APPLYING:
            return
        _act_for(job)
    try:
        _apply(import_id)
    except Stopped:
        _cancel(import_id, ImportStatus.APPLYING)
    except (StaleVersion, IntegrityError) as error:
        log.info("import_out_of_date", import_id=import_id, error=repr(error))
        _fail_out_of_date(import_id, error)


def give_up(import_id: int, message: str) -> None:
    """Say of an import that its job has failed."""
    for status in ON_THE_WAY:
        _finish(import_id, status, ImportStatus.FAILED, problem={"reason": "failed", "message": message})


def take_back(import_id: int) -> None:
    """Undo an import in one transaction, in the name of whoever asked for it; the job behind a large reversal."""
    with reading():
        job = db.session.get_one(Import, import_id, populate_existing=True)
        if job.status is not ImportStatus.REVERTING:
            return
        _act_for_user(current_context().user_id)
    try:
        _revert(import_id)
    except (ApiError, IntegrityError) as error:
        refusal = error if isinstance(error, ApiError) else from_database(error)
        said = refusal.facts if refusal.errors is None else {**refusal.facts, "errors": refusal.errors}
        with writing():
            _stay_applied(import_id, {"reason": refusal.reason, "message": refusal.message, **said})


def keep(import_id: int, message: str) -> None:
    """Say of an import that it could not be undone, because the job has failed."""
    _stay_applied(import_id, {"reason": "failed", "message": f"{message} Nothing was undone."})


def undo(job: Import) -> None:
    """Undo an applied import and say so, in the current transaction; raises NotRevertible and Forbidden."""
    progress = Progress(job.id, "reverting", changed_rows(job), may_stop=False)
    job.reversal = revert(job, progress.advance).counts()
    job.status, job.phase, job.done, job.finished_at = ImportStatus.REVERTED, "done", job.total, utcnow()


def changed_rows(job: Import) -> int:
    """How many rows of an import create or change something."""
    return sum(sheet["create"] + sheet["update"] for sheet in job.sheets)


@transactional
def _revert(import_id: int) -> None:
    job = db.session.get_one(Import, import_id, populate_existing=True, with_for_update=True)
    if job.status is ImportStatus.REVERTING:
        undo(job)


def _stay_applied(import_id: int, problem: dict[str, Any]) -> None:
    _finish(import_id, ImportStatus.REVERTING, ImportStatus.APPLIED, problem=problem)


@transactional
def _apply(import_id: int) -> None:
    """Write the plan and say so, in one transaction; raises Stopped where somebody else has ended the import."""
    job = db.session.get_one(Import, import_id, populate_existing=True)
    apply_plan(job, Progress(import_id, "applying", changed_rows(job)).advance)
    ended = {"phase": "done", "done": job.total, "finished_at": utcnow()}
    if not move(import_id, (ImportStatus.APPLYING,), ImportStatus.APPLIED, **ended):
        raise Stopped


def _fail_out_of_date(import_id: int, error: StaleVersion | IntegrityError) -> None:
    with reading():
        conflicts = all_conflicts(import_id)
    message = "Some objects have changed since the plan was made; nothing was applied."
    if not conflicts and isinstance(error, IntegrityError):
        # A rule that no plan can look up, such as one about what is inside of a field.
        refusal = from_database(error)
        message = f"{refusal.message} ({', '.join(refusal.errors or ()) or 'a reference'}) Nothing was applied."
    problem = {"reason": "out_of_date", "message": message, "conflicts": conflicts}
    with writing():
        _finish(import_id, ImportStatus.APPLYING, ImportStatus.FAILED, problem=problem)


def _cancel(import_id: int, status: ImportStatus) -> None:
    with writing():
        _finish(import_id, status, ImportStatus.CANCELLED)


def _finish(import_id: int, status: ImportStatus, ended: ImportStatus, **values: Any) -> None:
    """End a phase of an import, unless somebody else has moved it on meanwhile."""
    move(import_id, (status,), ended, phase="done", finished_at=utcnow(), **values)


def _plan_workbook(job: Import, book: Workbook, actor: Actor) -> None:
    """Store the plan and whether it can be applied as it is; raises Stopped where somebody has ended the import."""
    with reading():
        tables, unknown, planned = _plan_tables(job, book, actor)
    sheets = [_summary(table, drafts) for table, drafts in planned] + [_unknown(name) for name in unknown]
    total = sum(len(drafts) for _, drafts in planned)
    problem = _problem(sheets, found=bool(planned))
    status = ImportStatus.INVALID if problem else ImportStatus.READY
    result = {"sheets": sheets, "total": total, "done": total, "problem": problem}
    with writing():
        store(job.id, planned)
        learn(job, tables)
        if not move(job.id, (ImportStatus.VALIDATING,), status, phase="done", finished_at=utcnow(), **result):
            raise Stopped


def _plan_tables(job: Import, book: Workbook, actor: Actor) -> tuple[list[Table], list[str], list[Planned]]:
    """The tables of the workbook with the plan of each, and the names of the sheets that are none."""
    resource = IMPORTABLE.get(job.resource or "")
    tables, unknown = find_tables(book, resource, job.mapping, job.extra, recall(job))
    progress = Progress(job.id, "validating", sum(table.sheet.row_count for table in tables))
    planner = Planner(actor, job.mode, job.match)
    planned: list[Planned] = []
    for _, group in groupby(tables, key=lambda table: table.resource.name):
        alike = [(table, [] if table.problems else read_drafts(table, progress.advance)) for table in group]
        planner.plan(alike)
        planned.extend(alike)
    return tables, unknown, planned


def _problem(sheets: list[dict[str, Any]], *, found: bool) -> dict[str, Any] | None:
    if not found:
        known = ", ".join(item.titles[0] for item in IMPORTABLE.values())
        return {"reason": "no_table", "message": f"No sheet is called like something we know: {known}."}
    if any(sheet["error"] or sheet["problems"] for sheet in sheets):
        return {"reason": "invalid_rows", "message": "Some rows or columns are wrong; nothing was applied."}
    return None


def _summary(table: Table, drafts: list[Draft]) -> dict[str, Any]:
    counts = {action.value: 0 for action in Action}
    for draft in drafts:
        counts[draft.action.value] += 1
    return {
        "sheet": table.sheet.name,
        "resource": table.resource.name,
        "header_row": table.header_row,
        "text": table.sheet.text,
        **counts,
        "warnings": sum(len(draft.warnings) for draft in drafts),
        "columns": [column.describe() for column in table.columns],
        "problems": table.problems,
        "notes": table.notes,
    }


def _unknown(name: str) -> dict[str, Any]:
    """What is said of a sheet that is not understood; the others go in all the same."""
    counts = {action.value: 0 for action in Action}
    facts = {"sheet": name, "resource": None, "header_row": None, "text": None, **counts, "warnings": 0}
    return {**facts, "columns": [], "problems": [], "notes": ["We do not know what this sheet holds."]}


def _act_for(job: Import) -> Actor:
    """Work in the name of the import's owner, as they are now, and under the import's own request id."""
    actor = _act_for_user(job.created_by_id)
    act_in(replace(current_context(), request_id=job.request_id))
    return actor


def _act_for_user(user_id: int | None) -> Actor:
    user = db.session.get(User, user_id) if user_id else None
    if user is None or not user.is_active:
        raise PermissionError("Whoever wanted this is gone or inactive.")
    actor = Actor(id=user.id, username=user.username, role=user.role, token_id=current_context().token_id)
    act_as(actor)
    return actor
