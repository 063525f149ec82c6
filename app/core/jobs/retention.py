"""Deletes the jobs that ended long ago."""

from datetime import timedelta

import sqlalchemy as sa

from app.core.db.unit_of_work import db, writing
from app.core.jobs.queue import Job
from app.core.jobs.runner import Runner
from app.core.values import utcnow

INTERVAL_SECONDS = 600.0
BATCH_ROWS = 5000
"""Jobs that are deleted in one transaction."""
RETENTION = {"done": timedelta(days=7), "failed": timedelta(days=90)}
"""How long jobs are kept after their end; failed ones are counted by the metrics and investigated."""

jobs = Job.__table__


def register_jobs(runner: Runner) -> None:
    runner.repeat("ended jobs", delete_ended, every=INTERVAL_SECONDS)


def delete_ended() -> int:
    """Delete the jobs whose retention is over, BATCH_ROWS in a transaction; returns how many."""
    deleted = 0
    for state, age in RETENTION.items():
        old = sa.select(jobs.c.id).where(jobs.c.state == state, jobs.c.ended_at < utcnow() - age).limit(BATCH_ROWS)
        while (count := _delete(old)) > 0:
            deleted += count
    return deleted


def _delete(old: sa.Select[tuple[int]]) -> int:
    with writing():
        return len(db.session.scalars(sa.delete(jobs).where(jobs.c.id.in_(old)).returning(jobs.c.id)).all())
