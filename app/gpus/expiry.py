"""Assignments that end by themselves: each has a job that is due when its time is over."""

from datetime import timedelta

import structlog
from flask import g
from sqlalchemy.exc import DBAPIError

from app.core.db.unit_of_work import commit_now, db
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Later, Runner
from app.core.request_context import Origin, new_request_id
from app.core.values import utcnow
from app.gpus.models import Gpu, GpuAssignment
from app.gpus.service import EXPIRE, hand_back

log = structlog.get_logger()

PATIENCE = timedelta(minutes=1)
"""How long a release that could not be written is put off."""
SYSTEM = "system"
REASON = "The assignment has expired."


def register_jobs(runner: Runner) -> None:
    # An import of minutes must not keep a GPU from whoever waits for it.
    runner.register(EXPIRE, expire, try_again, lane="gpus")


def expire(assignment_id: int) -> None:
    """Release the GPU of an assignment whose time is over, unless somebody has; raises Later.

    The row of the GPU is locked before its assignment is looked at, as whoever assigns and releases does: of a
    user and the system, and of two workers, the second finds nothing left to do.
    """
    try:
        _expire(assignment_id)
        commit_now()
    except DBAPIError as error:
        db.session.rollback()
        log.warning("gpu_not_released", assignment=assignment_id, error=repr(error.orig))
        raise Later(PATIENCE) from error


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
        # The clock of whoever queued it is ahead of ours.
        raise Later(remaining)
    g.origin = Origin(request_id=new_request_id(), username=SYSTEM, reason=REASON)
    g.audit_intent = "release"
    hand_back(gpu, SYSTEM)


def try_again(assignment_id: int, reason: str) -> None:
    """Queue the work anew: whatever kept it from being done, the GPU is still to be released."""
    log.error("gpu_not_released", assignment=assignment_id, error=reason)
    enqueue(EXPIRE, assignment_id, due_at=utcnow() + PATIENCE)
