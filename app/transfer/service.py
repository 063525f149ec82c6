"""The life of an import: uploaded, planned in the background, shown, applied."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

import sqlalchemy as sa
import structlog
from flask import g
from sqlalchemy.exc import IntegrityError

from app.core.database import as_json, begin_writing, db, transactional, utcnow, write_rows
from app.core.errors import Conflict, NotFound
from app.core.jobs import Runner, enqueue
from app.core.origin import current_origin
from app.core.security import Actor, act_as, current_actor
from app.resource.bulk import StaleVersion
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.transfer.apply import OutOfDate, apply_plan, changed_since
from app.transfer.drafts import Draft, read_drafts
from app.transfer.layout import IMPORTABLE, Table, find_tables
from app.transfer.models import Action, Import, ImportFile, ImportRow, ImportStatus, OnError
from app.transfer.plan import Planner, changes_of
from app.transfer.workbook import UnreadableWorkbook, Workbook, read_workbook
from app.users.models import User

log = structlog.get_logger()

PLAN, APPLY = "import.plan", "import.apply"
COLUMNS = tuple(column.key for column in ImportRow.__table__.columns)
RUNNING = (ImportStatus.QUEUED, ImportStatus.VALIDATING, ImportStatus.APPLYING)

imports = Import.__table__


class NotApplicable(Conflict):
    reason, message = "not_applicable", "This import cannot be applied."


def register_jobs(runner: Runner) -> None:
    runner.register(PLAN, make_plan, give_up)
    runner.register(APPLY, carry_out, give_up)


def start(content: bytes, filename: str, options: Mapping[str, Any]) -> int:
    """Store an uploaded file and queue its plan; answers the import's id."""
    job = Import(
        filename=filename,
        **options,
        request_id=current_origin().request_id,
        created_by_id=current_actor().id,
    )
    db.session.add(job)
    db.session.flush()
    db.session.add(ImportFile(import_id=job.id, content=content))
    db.session.flush()
    enqueue(PLAN, job.id)
    return job.id


def visible(import_id: int, *, to_change: bool = False) -> Import:
    """An import of the acting user, or any for an administrator; raises NotFound."""
    job = db.session.get(Import, import_id, with_for_update=to_change or None)
    actor = current_actor()
    if job is None or not (actor.is_admin or job.created_by_id == actor.id):
        raise NotFound(f"There is no import {import_id}.")
    return job


def request_apply(import_id: int, on_error: OnError) -> None:
    """Queue the application of a plan; raises NotApplicable, naming the rows that are out of date."""
    job = visible(import_id, to_change=True)
    skips = on_error is OnError.SKIP and job.status is ImportStatus.INVALID and _has_right_rows(job)
    if job.status is not ImportStatus.READY and not skips:
        raise NotApplicable(f"This import is {job.status.value}.")
    conflicts = changed_since(job)
    if conflicts:
        raise NotApplicable(
            "Some objects have changed since the plan was made.", reason="out_of_date", conflicts=conflicts
        )
    job.on_error = on_error
    job.status, job.phase, job.done = ImportStatus.APPLYING, "applying", 0
    enqueue(APPLY, job.id)


def make_plan(import_id: int) -> None:
    """Read the file and store what each of its rows would do; the job behind an upload."""
    job = db.session.get_one(Import, import_id)
    if job.status not in (ImportStatus.QUEUED, ImportStatus.VALIDATING):
        return
    actor = _act_for(job)
    job.status, job.phase = ImportStatus.VALIDATING, "reading"
    content = db.session.get_one(ImportFile, import_id).content
    db.session.commit()
    try:
        with read_workbook(content, filename=job.filename) as book:
            _plan_workbook(job, book, actor)
    except UnreadableWorkbook as error:
        begin_writing()
        _finish(job, ImportStatus.INVALID, {"reason": error.reason, "message": str(error)})
        return
    if job.apply_at_once and job.status is ImportStatus.READY:
        job.status, job.phase = ImportStatus.APPLYING, "applying"
        db.session.commit()
        carry_out(import_id)


def carry_out(import_id: int) -> None:
    """Apply a plan in one transaction; the job behind an application."""
    job = db.session.get_one(Import, import_id)
    if job.status is not ImportStatus.APPLYING:
        return
    _act_for(job)
    db.session.commit()
    try:
        _apply(import_id)
    except OutOfDate as error:
        _fail_out_of_date(import_id, error.conflicts)
    except (StaleVersion, IntegrityError) as error:
        log.info("import_out_of_date", import_id=import_id, error=repr(error))
        _fail_out_of_date(import_id, changed_since(db.session.get_one(Import, import_id)))


def give_up(import_id: int, message: str) -> None:
    """Say of an import that its job has failed."""
    job = db.session.get_one(Import, import_id)
    if job.status in RUNNING:
        _finish(job, ImportStatus.FAILED, {"reason": "failed", "message": message})


@transactional
def _apply(import_id: int) -> None:
    job = db.session.get_one(Import, import_id, with_for_update=True, populate_existing=True)
    if job.status is not ImportStatus.APPLYING:
        return
    apply_plan(job)
    job.status, job.phase, job.done = ImportStatus.APPLIED, "done", job.total
    job.finished_at = utcnow()


def _fail_out_of_date(import_id: int, conflicts: list[dict[str, Any]]) -> None:
    db.session.rollback()
    problem = {
        "reason": "out_of_date",
        "message": "Some objects have changed since the plan was made; nothing was applied.",
        "conflicts": conflicts,
    }
    _finish(db.session.get_one(Import, import_id), ImportStatus.FAILED, problem)


def _plan_workbook(job: Import, book: Workbook, actor: Actor) -> None:
    db.session.info["reading"] = True
    resource = IMPORTABLE.get(job.resource or "")
    tables, unknown = find_tables(book, resource, job.mapping, job.extra)
    total = sum(table.sheet.row_count for table in tables)
    _show_progress(job.id, "validating", 0, total)
    planner = Planner(actor, job.mode, job.match)
    planned: list[tuple[Table, list[Draft]]] = []
    done = 0
    for _, group in groupby(tables, key=lambda table: table.resource.name):
        alike = [(table, [] if table.problems else list(read_drafts(table))) for table in group]
        planner.plan(alike)
        planned.extend(alike)
        done += sum(table.sheet.row_count for table, _ in alike)
        _show_progress(job.id, "validating", done, total)
    begin_writing()
    _store(job, planned)
    job.sheets = [_summary(table, drafts) for table, drafts in planned] + [_unknown(name) for name in unknown]
    job.total = job.done = sum(len(drafts) for _, drafts in planned)
    wrong = any(sheet["error"] or sheet["problems"] for sheet in job.sheets)
    problem = None
    if not planned:
        wrong = True
        known = ", ".join(item.titles[0] for item in IMPORTABLE.values())
        problem = {"reason": "no_table", "message": f"No sheet is called like something we know: {known}."}
    elif wrong:
        problem = {
            "reason": "invalid_rows",
            "message": "Some rows or columns are wrong; nothing was applied.",
        }
    _finish(job, ImportStatus.INVALID if wrong else ImportStatus.READY, problem)


def _store(job: Import, planned: list[tuple[Table, list[Draft]]]) -> None:
    """Write the plan's rows, numbered so that what is referred to comes before what refers to it."""
    drafts = list(chain.from_iterable(drafts for _, drafts in planned))
    for position, draft in enumerate(drafts, 1):
        draft.position = position
    write_rows(ImportRow.__table__, COLUMNS, (_as_row(job.id, draft) for draft in drafts))


def _as_row(import_id: int, draft: Draft) -> tuple[Any, ...]:
    resource = draft.table.resource
    wrong = draft.action is Action.ERROR
    changes = {} if draft.action is Action.UNCHANGED else changes_of(draft)
    name = draft.values.get(resource.model.label)
    return (
        import_id,
        draft.position,
        draft.table.sheet.name[:255],
        draft.row,
        resource.name,
        draft.action,
        draft.object_id,
        draft.existing["version"] if draft.existing is not None else None,
        str(name)[:255] if name is not None else None,
        {field: _as_planned(resource, draft, field, value) for field, value in changes.items()},
        {field: as_json(value) for field, value in draft.old.items()} if draft.old and not wrong else None,
        draft.errors or None,
        draft.warnings or None,
    )


def _as_planned(resource: Resource, draft: Draft, name: str, value: Any) -> Any:
    if value is None or resource.fields[name].kind is not Kind.REFERENCE:
        return as_json(value)
    called = {"name": draft.names.get(name)}
    if isinstance(value, Draft):
        return {"row": value.position, **called}
    return {"id": value, **called} if isinstance(value, int) else called


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


def _has_right_rows(job: Import) -> bool:
    return any(sheet["create"] or sheet["update"] for sheet in job.sheets) and not any(
        sheet["problems"] for sheet in job.sheets
    )


def _finish(job: Import, status: ImportStatus, problem: dict[str, Any] | None) -> None:
    job.status, job.problem = status, problem
    job.phase = "done"
    job.finished_at = utcnow()
    db.session.commit()


def _show_progress(import_id: int, phase: str, done: int, total: int) -> None:
    """Say how far the work is, in a transaction of its own, because the work's own shows nothing yet."""
    with db.engine.begin() as connection:
        statement = sa.update(imports).where(imports.c.id == import_id)
        connection.execute(statement.values(phase=phase, done=done, total=total))


def _act_for(job: Import) -> Actor:
    """Work in the name of the import's owner, as they are now, and under the import's own request id."""
    user = db.session.get(User, job.created_by_id) if job.created_by_id else None
    if user is None or not user.is_active:
        raise PermissionError("The owner of the import is gone or inactive.")
    origin = current_origin()
    actor = Actor(id=user.id, username=user.username, role=user.role, token_id=origin.token_id)
    act_as(actor)
    g.origin = replace(current_origin(), request_id=job.request_id)
    return actor


def select_rows(
    import_id: int, action: Action | None, sheet: str | None, page: int, page_size: int
) -> tuple[list[dict[str, Any]], int]:
    """A page of the plan's rows, and how many there are in all."""
    table = ImportRow.__table__
    conditions = [table.c.import_id == import_id]
    if action is not None:
        conditions.append(table.c.action == action)
    if sheet is not None:
        conditions.append(table.c.sheet == sheet)
    total = db.session.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0
    statement = sa.select(table).where(*conditions).order_by(table.c.position)
    found = db.session.execute(statement.limit(page_size).offset((page - 1) * page_size))
    return list(_shown(found.mappings())), total


def _shown(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows:
        old = row["old"] or {}
        yield {
            "sheet": row["sheet"],
            "row": row["row"],
            "resource": row["resource"],
            "action": row["action"],
            "id": row["object_id"],
            "changes": {name: {"old": old.get(name), "new": value} for name, value in row["new"].items()},
            "errors": row["errors"] or [],
            "warnings": row["warnings"] or [],
        }
