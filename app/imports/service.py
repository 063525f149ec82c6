"""What clients ask of an import: to be planned, shown, applied."""

from collections.abc import Mapping
from typing import Any

from app.core.db.unit_of_work import current_context, db, reading
from app.core.errors import Conflict, NotFound
from app.core.http.access import current_actor
from app.core.jobs.queue import enqueue
from app.core.values import utcnow
from app.imports.apply.conflicts import changed_since
from app.imports.jobs import APPLY, PLAN, REVERT, changed_rows, undo
from app.imports.models import Import, ImportFile, ImportStatus, OnError, move
from app.imports.progress import ask_to_stop
from app.imports.revert import NotRevertible

CANCELLABLE = (
    ImportStatus.QUEUED,
    ImportStatus.VALIDATING,
    ImportStatus.READY,
    ImportStatus.INVALID,
    ImportStatus.APPLYING,
)


AT_ONCE = 1000
"""Rows of an import that is undone in the request; a larger one takes longer than anybody waits for an answer."""


class NotApplicable(Conflict):
    reason, message = "not_applicable", "This import cannot be applied."


class NotCancellable(Conflict):
    reason, message = "not_cancellable", "This import cannot be cancelled any more."


def start(content: bytes, filename: str, options: Mapping[str, Any]) -> int:
    """Store an uploaded file and queue its plan; answers the import's id."""
    job = Import(
        filename=filename,
        **options,
        request_id=current_context().request_id,
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
    conflicts = changed_since(job.id)
    if conflicts:
        raise NotApplicable(
            "Some objects have changed since the plan was made.", reason="out_of_date", conflicts=conflicts
        )
    job.on_error = on_error
    job.status, job.phase, job.done = ImportStatus.APPLYING, "applying", 0
    enqueue(APPLY, job.id)


def cancel(import_id: int) -> None:
    """End an import before it has changed anything; raises NotCancellable where it is too late."""
    with reading():
        job = visible(import_id)
        if job.status in CANCELLABLE:
            ask_to_stop(import_id)
    # On SQLite this waits until the work has heard it and rolled back, or has committed.
    # One that is being applied is told at its next thousand rows, and cannot commit any more from here on.
    moved = move(import_id, CANCELLABLE, ImportStatus.CANCELLED, phase="done", finished_at=utcnow())
    db.session.refresh(job)
    if not moved and job.status is not ImportStatus.CANCELLED:
        raise NotCancellable(f"This import is {job.status.value}: it is too late to cancel it.")


def revert(import_id: int, *, dry_run: bool) -> bool:
    """Undo an applied import, whole, or queue that; answers whether it is done.

    Raises NotRevertible, naming what speaks against it; where it is queued, the import says that later. What would be
    done is found out by doing it, so a dry run is never queued.
    """
    job = visible(import_id, to_change=True)
    if job.status is not ImportStatus.APPLIED:
        raise NotRevertible(f"This import is {job.status.value}.")
    job.problem = None
    if dry_run or changed_rows(job) <= AT_ONCE:
        undo(job)
        return True
    job.status, job.phase, job.done, job.finished_at = ImportStatus.REVERTING, "reverting", 0, None
    enqueue(REVERT, job.id)
    return False


def _has_right_rows(job: Import) -> bool:
    return any(sheet["create"] or sheet["update"] for sheet in job.sheets) and not any(
        sheet["problems"] for sheet in job.sheets
    )
