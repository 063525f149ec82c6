"""The health check scheduler: checks services when they are due, and deletes old checks.

It may run in any number of processes; `service_schedules` tells which of them checks a service.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from app.core.db.statements import any_of
from app.core.db.unit_of_work import act_in, current_context, db, reading, transactional, writing
from app.core.jobs.runner import Runner
from app.core.net.http_client import configured_policy
from app.core.request_context import new_request_id
from app.core.values import utcnow
from app.services.health_check import CheckResult, CheckTarget, check_health
from app.services.models import ServiceSchedule
from app.services.service import IS_CHECKED, checks, load_targets, services, store_results

POLL_SECONDS = 5.0
"""Interval at which each process looks for services that are due."""
MAX_THREADS = 64
"""Services that one process checks at the same time."""
BATCH_ROWS = 500
"""Services that are claimed, and results that are stored, in one transaction."""
WRITE_INTERVAL_SECONDS = 1.0
"""How long a result waits so that it is stored together with others."""
DELETE_ROWS = 5000
"""Old checks that are deleted in one transaction."""
STATUS_CHANGE_RETENTION = timedelta(days=90)
"""How long a check that changed the status is kept; HEALTH_CHECK_DAYS is for all others."""

schedules = ServiceSchedule.__table__


def register_jobs(runner: Runner) -> None:
    runner.repeat("service checks", run_due_checks, every=POLL_SECONDS)
    runner.repeat("old service checks", delete_old_checks, every=600)


def run_due_checks() -> int:
    """Check all services that are due, and those that become due meanwhile; returns how many.

    No transaction is open while a response is awaited, so a slow service only occupies one of MAX_THREADS.
    """
    done = 0
    policy = configured_policy()
    if not current_app.config["HEALTH_CHECK_SECONDS"]:
        return done
    with ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="check") as threads:
        running: set[Future[CheckResult]] = set()
        while True:
            if len(running) < MAX_THREADS:
                running |= {threads.submit(check_health, target, policy) for target in claim_due()}
            if not running:
                return done
            completed, running = wait(running, WRITE_INTERVAL_SECONDS)
            _store([future.result() for future in completed])
            done += len(completed)


def claim_due() -> list[CheckTarget]:
    """Claim up to BATCH_ROWS services that are due.

    A claim moves `due_at` on. SKIP LOCKED keeps processes from waiting for each other's claims; a process that dies
    after its claim costs its services one interval.
    """
    _schedule_new()
    now = utcnow()
    due = (
        sa.select(schedules.c.service_id)
        .where(schedules.c.due_at <= now)
        .order_by(schedules.c.due_at)
        .limit(BATCH_ROWS)
    )
    if not _exists(due):
        return []
    next_due_at = now + timedelta(seconds=current_app.config["HEALTH_CHECK_SECONDS"])
    claim = (
        sa.update(schedules)
        .where(schedules.c.service_id.in_(due.with_for_update(skip_locked=True)))
        .values(due_at=next_due_at)
        .returning(schedules.c.service_id)
    )
    with writing():
        claimed_ids = list(db.session.scalars(claim))
        targets = load_targets(claimed_ids)
        # Services that have lost their health check, or were disabled, since they were scheduled.
        unchecked_ids = set(claimed_ids) - {target.service_id for target in targets}
        if unchecked_ids:
            db.session.execute(sa.delete(schedules).where(any_of(schedules.c.service_id, unchecked_ids)))
    return targets


def delete_old_checks() -> int:
    """Delete the checks whose retention is over, DELETE_ROWS in a transaction; returns how many."""
    deleted = 0
    retention = timedelta(days=current_app.config["HEALTH_CHECK_DAYS"])
    for is_change, age in ((False, retention), (True, max(retention, STATUS_CHANGE_RETENTION))):
        old = sa.select(checks.c.id).where(checks.c.is_change.is_(is_change), checks.c.checked_at < utcnow() - age)
        while _exists(old):
            deleting = sa.delete(checks).where(checks.c.id.in_(old.limit(DELETE_ROWS))).returning(checks.c.id)
            with writing():
                deleted += len(db.session.scalars(deleting).all())
    return deleted


def _schedule_new() -> None:
    """Schedule the services that are not scheduled yet, for now."""
    is_scheduled = sa.exists().where(schedules.c.service_id == services.c.id)
    missing = sa.select(services.c.id, sa.literal(utcnow(), type_=schedules.c.due_at.type)).where(
        IS_CHECKED, ~is_scheduled
    )
    if not _exists(missing):
        return
    try:
        with writing():
            db.session.execute(sa.insert(schedules).from_select(["service_id", "due_at"], missing))
    except sa.exc.IntegrityError:
        # Another process has scheduled one of them, or it was deleted: the next poll schedules the rest.
        return


def _store(results: Sequence[CheckResult]) -> None:
    for start in range(0, len(results), BATCH_ROWS):
        act_in(replace(current_context(), request_id=new_request_id(), reason="A scheduled health check."))
        transactional(store_results)(results[start : start + BATCH_ROWS])


def _exists(rows: sa.Select[tuple[int, ...]]) -> bool:
    """Whether the query has a row. Read in a read transaction: on SQLite a write transaction locks the database."""
    with reading():
        return db.session.execute(rows.limit(1)).first() is not None
