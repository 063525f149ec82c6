"""What clients do with imports (upload, apply, cancel and revert them), and how they see them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import current_context, db, reading
from app.core.errors import Conflict, NotFound
from app.core.http.access import current_actor
from app.core.http.dry_run import is_dry_run
from app.core.jobs.queue import enqueue
from app.core.messages import tr
from app.core.values import utcnow
from app.imports.apply.conflicts import require_rights, version_conflicts
from app.imports.models import (
    CANCELLABLE,
    PHASE_LABELS,
    PHASES_OF,
    RUNNING,
    STATUS_LABELS,
    Import,
    ImportFile,
    ImportPhase,
    ImportStatus,
    OnError,
    change_status,
    forget_earlier,
    last_progress,
    request_stop,
)
from app.imports.pipeline import APPLY, PLAN, REVERT, owner_of
from app.imports.plan.explanations import explain
from app.imports.plan.store import explained
from app.imports.plan.summary import choosable_fields
from app.imports.problems import render_problem
from app.imports.report.models import ImportReport
from app.imports.revert import NotRevertible, revert_import
from app.users.models import User

MAX_REVERTED_ROWS = 1000
"""Rows of an import that is reverted within the request; a larger one is reverted by a background job."""


class NotApplicable(Conflict):
    reason, message = "not_applicable", tr("This import cannot be applied.")


class PlanOutOfDate(Conflict):
    reason, message = "out_of_date", tr("Some objects have changed since the plan was made: plan the import again.")


class NotCancellable(Conflict):
    reason, message = "not_cancellable", tr("This import can no longer be cancelled.")


def upload(content: bytes, filename: str, options: Mapping[str, Any]) -> int:
    """Store an uploaded file and queue its plan; returns the id of the import."""
    _delete_old_files()
    import_ = Import(
        filename=filename,
        **options,
        request_id=current_context().request_id,
        created_by_id=current_actor().id,
    )
    db.session.add(import_)
    db.session.flush()
    db.session.add(ImportFile(import_id=import_.id, content=content))
    db.session.flush()
    forget_earlier(import_.id)
    enqueue(PLAN, import_.id)
    return import_.id


def get(import_id: int, *, to_change: bool = False) -> Import:
    """An import of the acting user, or any for an administrator; raises NotFound."""
    import_ = db.session.get(Import, import_id, with_for_update=to_change or None)
    actor = current_actor()
    if import_ is None or not (actor.is_admin or import_.created_by_id == actor.id):
        raise NotFound(tr("There is no import {import_id}.", import_id=import_id))
    return import_


def request_apply(import_id: int, on_error: OnError) -> None:
    """Queue the application of a plan.

    Raises NotApplicable, naming the rows that are out of date, and NotOwner, naming those that the owner of the plan
    may not write any more; the job checks both again, with the rights of the owner even if an administrator applies
    the plan.
    """
    import_ = get(import_id, to_change=True)
    skips = on_error is OnError.SKIP and import_.status is ImportStatus.INVALID and _has_valid_rows(import_)
    if import_.status is not ImportStatus.READY and not skips:
        raise NotApplicable(tr("This import is {status}: it cannot be applied.", status=STATUS_LABELS[import_.status]))
    conflicts = version_conflicts(import_.id)
    if conflicts:
        raise PlanOutOfDate(conflicts=conflicts)
    try:
        require_rights(import_.id, owner_of(import_.created_by_id))
    except PermissionError:
        raise NotApplicable(
            tr("The user of this import does not exist any more, or is deactivated: upload the file again.")
        ) from None
    import_.on_error = on_error
    import_.status, import_.phase, import_.done = ImportStatus.APPLYING, ImportPhase.APPLYING, 0
    import_.problem = None
    enqueue(APPLY, import_.id)


def cancel(import_id: int) -> None:
    """Cancel an import that has not changed anything yet; raises NotCancellable where it is too late."""
    stops_job = not is_dry_run()
    with reading():
        import_ = get(import_id)
        if stops_job and import_.status in CANCELLABLE:
            request_stop(import_id)
    # On SQLite this waits for the only writer: until the job has stopped and rolled back, or has committed.
    # A job that applies the import stops at its next batch, and cannot commit any more after this change.
    ended: dict[str, Any] = {"phase": ImportPhase.DONE, "problem": None, "finished_at": utcnow()}
    cancelled = change_status(import_id, CANCELLABLE, ImportStatus.CANCELLED, **ended)
    db.session.refresh(import_)
    if not cancelled and import_.status is not ImportStatus.CANCELLED:
        raise NotCancellable(
            tr("This import is {status}: it can no longer be cancelled.", status=STATUS_LABELS[import_.status])
        )


def revert(import_id: int) -> bool:
    """Revert an applied import as a whole, or queue that if it is large; returns whether it is done.

    Raises NotRevertible, naming the rows that others have changed since; a queued revert reports them in `problem`.
    A dry run reverts and rolls back, so it is never queued.
    """
    import_ = get(import_id, to_change=True)
    if import_.status is not ImportStatus.APPLIED:
        raise NotRevertible(
            tr("This import is {status}: only an applied one can be reverted.", status=STATUS_LABELS[import_.status])
        )
    import_.problem = None
    if is_dry_run() or import_.changed_rows <= MAX_REVERTED_ROWS:
        revert_import(import_)
        return True
    import_.status, import_.phase = ImportStatus.REVERTING, ImportPhase.REVERTING
    import_.done, import_.finished_at = 0, None
    enqueue(REVERT, import_.id)
    return False


def _delete_old_files() -> None:
    """Delete the files and reports of imports that ended IMPORT_FILE_DAYS ago; their plans and audit records stay."""
    limit = utcnow() - timedelta(days=current_app.config["IMPORT_FILE_DAYS"])
    old = sa.select(Import.id).where(Import.finished_at < limit)
    for table in (ImportFile.__table__, ImportReport.__table__):
        db.session.execute(sa.delete(table).where(table.c.import_id.in_(old)))


def _has_valid_rows(import_: Import) -> bool:
    return any(sheet["create"] or sheet["update"] for sheet in import_.sheets) and not any(
        sheet["problems"] for sheet in import_.sheets
    )


def render_one(import_: Import) -> dict[str, Any]:
    """An import as the API shows it."""
    return render(import_, usernames({import_.created_by_id} if import_.created_by_id else set()))


def usernames(ids: set[int]) -> dict[int, str]:
    if not ids:
        return {}
    return dict(db.session.execute(sa.select(User.id, User.username).where(User.id.in_(ids))).all())


def render(import_: Import, names: dict[int, str]) -> dict[str, Any]:
    owner = import_.created_by_id
    return {
        "id": import_.id,
        "revision": import_.revision,
        "status": import_.status,
        "filename": import_.filename,
        "mode": import_.mode,
        "extra": import_.extra,
        "encoding": import_.encoding,
        "dates": import_.dates,
        "progress": _progress(import_),
        "settings": import_.settings,
        "sheets": [_render_sheet(sheet) for sheet in import_.sheets],
        "is_sample": import_.is_sample,
        "problem": None if import_.problem is None else render_problem(import_.problem),
        "reversal": import_.reversal,
        "request_id": import_.request_id,
        "created_at": import_.created_at,
        "finished_at": import_.finished_at,
        "created_by": None if owner is None else {"id": owner, "name": names[owner]},
    }


def _render_sheet(sheet: dict[str, Any]) -> dict[str, Any]:
    resource = IMPORTABLE.get(sheet["resource"] or "")
    lists = {name: explained(sheet[name]) for name in ("messages", "problems", "sheet_warnings", "sheet_notes")}
    return {
        **sheet,
        **lists,
        "notes": [note["message"] for note in lists["sheet_notes"]],
        "columns": [] if resource is None else [explain(column, resource) for column in sheet["columns"]],
        "choices": [] if resource is None else choosable_fields(resource),
    }


def _progress(import_: Import) -> dict[str, Any]:
    """The progress that the running job shows, or the stored one."""
    stored = {
        "phase": import_.phase.value,
        "done": import_.done,
        "total": import_.total,
        "rows_per_second": None,
        "seconds_left": None,
    }
    shown = last_progress(import_.id) if import_.status in RUNNING else None
    # The cache may still hold the progress of the status before.
    if shown is None or ImportPhase(shown["phase"]) not in PHASES_OF[import_.status]:
        shown = stored
    return {**shown, "label": PHASE_LABELS[ImportPhase(shown["phase"])]}
