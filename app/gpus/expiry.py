"""Expiry of assignments: a job per assignment, due at its `expires_at`, releases the GPU."""

from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from app.core.db.unit_of_work import act_in, db, writing
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Later, Runner
from app.core.request_context import RequestContext, new_request_id
from app.core.values import utcnow
from app.gpus.models import Gpu, GpuAssignment
from app.gpus.service import EXPIRY_JOB, end_assignment

log = structlog.get_logger()

RETRY_DELAY = timedelta(minutes=1)
"""The pause before a release that could not be written is tried again."""
SYSTEM = "system"
REASON = "The assignment has expired."


def register_jobs(runner: Runner) -> None:
    # A lane of its own: an import that takes minutes must not delay the release.
    runner.register(EXPIRY_JOB, expire, requeue, lane="gpus")


def expire(assignment_id: int) -> None:
    """Release the GPU of an expired assignment, unless it was released before; raises Later.

    Lock order: first the GPU, then its assignment is read, as assign and release do. Of two concurrent releases, the
    second one finds the assignment ended and does nothing.
    """
    try:
        with writing(action="release"):
            _expire(assignment_id)
    except DBAPIError as error:
        log.warning("gpu_not_released", assignment=assignment_id, error=repr(error.orig))
        raise Later(RETRY_DELAY) from error


def _expire(assignment_id: int) -> None:
    assignment = db.session.get(GpuAssignment, assignment_id)
    if assignment is None:
        return
    gpu = db.session.get(Gpu, assignment.gpu_id, with_for_update=True)
    if gpu is None:
        return
    db.session.refresh(assignment)
    if assignment.released_at is not None or assignment.expires_at is None:
        return
    remaining = assignment.expires_at - utcnow()
    if remaining > timedelta(0):
        # The clock of the process that queued the job is ahead of ours.
        raise Later(remaining)
    act_in(RequestContext(request_id=new_request_id(), username=SYSTEM, reason=REASON))
    end_assignment(gpu, SYSTEM)


def requeue(assignment_id: int, reason: str) -> None:
    """Queue a job again that the runner has given up: the GPU must be released eventually."""
    log.error("gpu_not_released", assignment=assignment_id, error=reason)
    enqueue(EXPIRY_JOB, assignment_id, due_at=utcnow() + RETRY_DELAY)
