"""Checking every service again and again, in any number of processes, and forgetting what was found long ago."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
import structlog
from flask import current_app, g

from app.core.db.statements import any_of
from app.core.db.unit_of_work import begin_reading, begin_writing, commit_now, db
from app.core.jobs.runner import Runner
from app.core.net.http_client import allowed
from app.core.request_context import current_origin, new_request_id
from app.core.values import utcnow
from app.services.models import ServiceSchedule
from app.services.probe import Finding, Target, probe
from app.services.service import IS_CHECKED, checks, record, services, targets

log = structlog.get_logger()

LOOK_SECONDS = 5.0
"""Seconds between two looks for services that are due."""
THREADS = 64
"""Services that one process asks at the same time."""
BATCH = 500
"""Services that are taken at once, and findings that are stored in one transaction."""
WRITE_SECONDS = 1.0
"""How long a finding waits for others to be stored with."""
CHANGES_KEPT = timedelta(days=90)
"""How long a check is kept that found another status; HEALTH_CHECK_DAYS says it of all others."""

schedules = ServiceSchedule.__table__


def register_jobs(runner: Runner) -> None:
    runner.repeat("service checks", check_due, every=LOOK_SECONDS)
    runner.repeat("old service checks", forget_old, every=600)


def check_due() -> int:
    """Check all services that are due, and those that become so meanwhile; answers how many.

    A slow one holds one of THREADS, and nobody's transaction.
    """
    done = 0
    admitted = allowed()
    if not current_app.config["HEALTH_CHECK_SECONDS"]:
        return done
    with ThreadPoolExecutor(THREADS, thread_name_prefix="check") as threads:
        asked: set[Future[Finding]] = set()
        while True:
            if len(asked) < THREADS:
                asked |= {threads.submit(probe, target, admitted) for target in take_due()}
            if not asked:
                return done
            answered, asked = wait(asked, WRITE_SECONDS)
            _record([future.result() for future in answered])
            done += len(answered)


def take_due() -> list[Target]:
    """Take up to BATCH services that are due, by moving their time on: nobody else takes them until then."""
    _plan_new()
    now = utcnow()
    due = sa.select(schedules.c.service_id).where(schedules.c.due_at <= now).order_by(schedules.c.due_at).limit(BATCH)
    if not _exists(due):
        return []
    again = now + timedelta(seconds=current_app.config["HEALTH_CHECK_SECONDS"])
    taking = (
        sa.update(schedules)
        .where(schedules.c.service_id.in_(due.with_for_update(skip_locked=True)))
        .values(due_at=again)
        .returning(schedules.c.service_id)
    )
    taken = list(db.session.scalars(taking))
    found = targets(taken)
    unchecked = set(taken) - {target.service_id for target in found}
    if unchecked:
        db.session.execute(sa.delete(schedules).where(any_of(schedules.c.service_id, unchecked)))
    commit_now()
    return found


def forget_old() -> int:
    """Delete the checks that nobody needs any more, a few at a time; answers how many."""
    deleted = 0
    kept = timedelta(days=current_app.config["HEALTH_CHECK_DAYS"])
    for is_change, age in ((False, kept), (True, max(kept, CHANGES_KEPT))):
        old = sa.select(checks.c.id).where(checks.c.is_change.is_(is_change), checks.c.checked_at < utcnow() - age)
        while _exists(old):
            deleting = sa.delete(checks).where(checks.c.id.in_(old.limit(5000))).returning(checks.c.id)
            deleted += len(db.session.scalars(deleting).all())
            commit_now()
    return deleted


def _plan_new() -> None:
    """Plan the services that have no time yet."""
    planned = sa.exists().where(schedules.c.service_id == services.c.id)
    missing = sa.select(services.c.id, sa.literal(utcnow(), type_=schedules.c.due_at.type)).where(IS_CHECKED, ~planned)
    if not _exists(missing):
        return
    try:
        db.session.execute(sa.insert(schedules).from_select(["service_id", "due_at"], missing))
        commit_now()
    except sa.exc.IntegrityError:
        # Another process has planned one of them, or somebody has deleted it: the next look finds the rest.
        db.session.rollback()


def _record(findings: Sequence[Finding]) -> None:
    for start in range(0, len(findings), BATCH):
        g.origin = replace(current_origin(), request_id=new_request_id(), reason="A scheduled health check.")
        record(findings[start : start + BATCH])


def _exists(rows: sa.Select[tuple[int, ...]]) -> bool:
    """Whether there are such rows, without taking the lock that a write on SQLite begins with."""
    begin_reading()
    found = db.session.execute(rows.limit(1)).first() is not None
    begin_writing()
    return found
