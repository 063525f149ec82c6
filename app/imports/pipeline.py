"""The import pipeline: the stages of an import in their order, run by background jobs.

plan:   read the file in a sandbox → map sheets and columns → parse rows → plan each row → store the plan
apply:  write the stored plan in one transaction
revert: undo an applied import in one transaction

The report is made apart from these, by a job of `app.imports.report`, if somebody asks for it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from app.catalog import IMPORTABLE
from app.core.db.errors import from_database
from app.core.db.unit_of_work import act_as, act_in, current_context, db, reading, transactional, writing
from app.core.errors import ApiError, NotOwner
from app.core.jobs.runner import Runner
from app.core.messages import tr
from app.core.request_context import Actor
from app.core.values import utcnow
from app.imports.apply.apply import PreparedCreations, apply_plan, prepared_creations
from app.imports.apply.conflicts import require_rights
from app.imports.map.layout import warn_of_layout
from app.imports.map.sheet_resources import MapOptions
from app.imports.map.tables import OtherSheet, find_tables
from app.imports.mappings.service import known_formats, learn_sheets, mappings_for
from app.imports.models import (
    PENDING,
    Import,
    ImportFile,
    ImportPhase,
    ImportStatus,
    Progress,
    Stopped,
    change_status,
)
from app.imports.parse.row_parser import parse_table
from app.imports.parse.rows import ParsedTable
from app.imports.plan.planner import Planner
from app.imports.plan.store import WrittenPlan, store_plan, written_plan
from app.imports.plan.summary import (
    other_sheet,
    problem_of,
    problem_of_applied,
    problem_of_plan,
    sheet_summary,
    unread_sheet,
)
from app.imports.problems import problem_of_conflict
from app.imports.revert import revert_import
from app.imports.settings import read_settings
from app.resource.bulk.writer import StaleVersion
from app.sheets.workbook import UnreadableWorkbook, read_workbook
from app.users.models import User

PLAN, APPLY, REVERT = "import.plan", "import.apply", "import.revert"

log = structlog.get_logger()

applied_rows = Counter("itam_import_rows", "Rows of imports that were applied.", ["action"])


def register_jobs(runner: Runner) -> None:
    runner.register(PLAN, run_plan, job_failed)
    runner.register(APPLY, run_apply, job_failed)
    runner.register(REVERT, run_revert, revert_failed)


def run_plan(import_id: int) -> None:
    """Job: plan an uploaded file, and apply the plan if the upload asked for that.

    Each step begins only from the status before it, so that the job continues where a killed worker left it.
    """
    startable = ImportStatus.QUEUED, ImportStatus.VALIDATING
    with writing():
        started = change_status(import_id, startable, ImportStatus.VALIDATING, phase=ImportPhase.READING)
        # The cache may have the progress of an earlier plan.
        Progress(import_id, ImportPhase.READING, 0, may_stop=False)
    if started:
        _plan(import_id)
    with reading():
        applies = db.session.get_one(Import, import_id, populate_existing=True).apply_at_once
    if applies:
        run_apply(import_id)


def run_apply(import_id: int) -> None:
    """Job: apply a plan in one transaction."""
    with reading():
        import_ = db.session.get_one(Import, import_id, populate_existing=True)
        if import_.status is not ImportStatus.APPLYING:
            return
        actor = _act_as(import_.created_by_id, import_.request_id)
    try:
        with prepared_creations(import_id, actor.id) as prepared:
            sheets = _apply(import_id, actor, prepared)
    except NotOwner as refused:
        problem = problem_of(refused.reason, refused.message, **refused.facts)
        with writing():
            _end(import_id, ImportStatus.APPLYING, ImportStatus.FAILED, problem=problem)
    except Stopped:
        with writing():
            _end(import_id, ImportStatus.APPLYING, ImportStatus.CANCELLED, problem=None)
    except (StaleVersion, IntegrityError) as error:
        log.info("import_out_of_date", import_id=import_id, error=repr(error))
        with reading():
            problem = problem_of_conflict(import_id, error)
        with writing():
            _end(import_id, ImportStatus.APPLYING, ImportStatus.FAILED, problem=problem)
    else:
        for action in ("create", "update", "unchanged", "error"):
            applied_rows.labels(action).inc(sum(sheet.get(action, 0) for sheet in sheets))


def run_revert(import_id: int) -> None:
    """Job: revert a large import in one transaction, as the user who asked for it."""
    with reading():
        import_ = db.session.get_one(Import, import_id, populate_existing=True)
        if import_.status is not ImportStatus.REVERTING:
            return
        _act_as(current_context().user_id, current_context().request_id)
    try:
        _revert(import_id)
    except (ApiError, IntegrityError) as error:
        refusal = error if isinstance(error, ApiError) else from_database(error)
        details = refusal.facts if refusal.errors is None else {**refusal.facts, "errors": refusal.errors}
        problem = problem_of(refusal.reason, refusal.message, **details)
        with writing():
            _end(import_id, ImportStatus.REVERTING, ImportStatus.APPLIED, problem=problem)


def job_failed(import_id: int, message: str) -> None:
    """End an import whose plan or application has failed for good, in the transaction that ends its job."""
    for status in PENDING:
        _end(import_id, status, ImportStatus.FAILED, problem=problem_of("failed", message))


def revert_failed(import_id: int, message: str) -> None:
    """Keep an import applied whose revert has failed for good, in the transaction that ends its job."""
    problem = problem_of("failed", tr("{problem} Nothing was reverted.", problem=message))
    _end(import_id, ImportStatus.REVERTING, ImportStatus.APPLIED, problem=problem)


def _plan(import_id: int) -> None:
    with reading():
        import_ = db.session.get_one(Import, import_id, populate_existing=True)
        actor = _act_as(import_.created_by_id, import_.request_id)
        # Kept, because the object is read anew later.
        revision = import_.revision
    try:
        with reading():
            tables, others = _plan_file(import_, actor)
        progress = Progress(import_id, ImportPhase.STORING, sum(len(parsed.rows) for parsed in tables))
        with written_plan(tables, progress.advance) as plan, writing():
            _store(import_, revision, tables, others, plan)
    except UnreadableWorkbook as error:
        problem = problem_of(error.reason, error.args[0], **error.facts)
        sheets = [unread_sheet(sheet) for sheet in import_.sheets]
        with writing():
            _end_plan(import_id, revision, ImportStatus.INVALID, problem=problem, sheets=sheets, total=0, done=0)
    except Stopped:
        with writing():
            _end_plan(import_id, revision, ImportStatus.CANCELLED)


def _plan_file(import_: Import, actor: Actor) -> tuple[Sequence[ParsedTable], Sequence[OtherSheet]]:
    """The planned tables of a file and its other sheets; raises UnreadableWorkbook and Stopped."""
    settings = read_settings(import_.settings)
    content = sa.select(ImportFile.content).where(ImportFile.import_id == import_.id)
    # Given away at once: the rows need the memory.
    opened = read_workbook(
        db.session.scalars(content).one(),
        filename=import_.filename,
        encoding=import_.encoding,
        watch=Progress(import_.id, ImportPhase.READING, 0).reach,
    )
    with opened as workbook:
        resource, saved = IMPORTABLE.get(import_.resource or ""), mappings_for(import_)
        options = MapOptions(resource, import_.mapping, import_.extra, saved, known_formats(), import_.dates, settings)
        tables, others = find_tables(workbook, options)
        for table in tables:
            if table.sheet.layout:
                warn_of_layout(table)
        progress = Progress(import_.id, ImportPhase.VALIDATING, sum(table.sheet.row_count for table in tables))
        parsed = [parse_table(table, progress.advance, import_.match) for table in tables]
    create_missing = settings.create_missing
    if create_missing is None:
        create_missing = [
            name for table in tables if table.saved_mapping for name in table.saved_mapping.create_missing
        ]
    planner = Planner(actor, import_.mode, import_.match, create_missing)
    progress = Progress(import_.id, ImportPhase.PLANNING, sum(len(one.rows) for one in parsed))
    return planner.plan(parsed, progress.advance), others


def _store(
    import_: Import, revision: int, tables: Sequence[ParsedTable], others: Sequence[OtherSheet], plan: WrittenPlan
) -> None:
    """Store the plan, and whether it can be applied.

    Raises Stopped where the import has been cancelled, or is planned again with other settings.
    """
    sheets = [sheet_summary(parsed) for parsed in tables] + [other_sheet(other) for other in others]
    problem = problem_of_plan(sheets, has_tables=bool(tables))
    total = sum(len(parsed.rows) for parsed in tables)
    results = {"sheets": sheets, "total": total, "problem": problem}
    if import_.apply_at_once and not problem:
        # In this transaction: a client that polls must not take `ready` for the end of it.
        stored = _end_plan(
            import_.id, revision, ImportStatus.APPLYING, phase=ImportPhase.APPLYING, done=0, finished_at=None, **results
        )
    else:
        status = ImportStatus.INVALID if problem else ImportStatus.READY
        stored = _end_plan(import_.id, revision, status, done=total, **results)
    if not stored:
        raise Stopped
    # The import is locked by now: of two workers that plan it, only one stores its plan.
    store_plan(import_.id, plan)
    learn_sheets(import_, [parsed.table for parsed in tables])


@transactional
def _apply(import_id: int, actor: Actor, prepared: PreparedCreations | None) -> list[dict[str, Any]]:
    """Write the plan and end the import in one transaction; returns the counts of its sheets.

    Raises Stopped where it has been cancelled, and NotOwner where its owner may not write all of it any more.
    """
    import_ = db.session.get_one(Import, import_id, populate_existing=True)
    require_rights(import_id, actor)
    apply_plan(import_, prepared, Progress(import_id, ImportPhase.APPLYING, import_.changed_rows).advance)
    result = {"done": import_.total, "problem": problem_of_applied(import_.sheets)}
    if not _end(import_id, ImportStatus.APPLYING, ImportStatus.APPLIED, **result):
        raise Stopped
    return import_.sheets


@transactional
def _revert(import_id: int) -> None:
    import_ = db.session.get_one(Import, import_id, populate_existing=True, with_for_update=True)
    if import_.status is ImportStatus.REVERTING:
        revert_import(import_)


def _end(import_id: int, status: ImportStatus, end: ImportStatus, **values: Any) -> bool:
    """End a phase of an import; False where it has another status by now, because it has been cancelled."""
    return change_status(import_id, (status,), end, phase=ImportPhase.DONE, finished_at=utcnow(), **values)


def _end_plan(import_id: int, revision: int, end: ImportStatus, **values: Any) -> bool:
    """End the planning of a revision; False where it has been cancelled, or has other settings by now."""
    ended = {"phase": ImportPhase.DONE, "finished_at": utcnow(), **values}
    return change_status(import_id, (ImportStatus.VALIDATING,), end, planned_revision=revision, **ended)


def owner_of(user_id: int | None) -> Actor:
    """The user of an import, with their present role; raises PermissionError."""
    user = db.session.get(User, user_id) if user_id else None
    if user is None or not user.is_active:
        raise PermissionError("The user of this import does not exist any more, or is deactivated.")
    return Actor(id=user.id, username=user.username, role=user.role, token_id=current_context().token_id)


def _act_as(user_id: int | None, request_id: str) -> Actor:
    """Run as a user with their present role, under the request id of the import; raises PermissionError."""
    actor = owner_of(user_id)
    act_as(actor)
    act_in(replace(current_context(), request_id=request_id))
    return actor
