"""How long jobs are kept that have ended: as long as somebody may ask what became of one."""

from datetime import timedelta

import sqlalchemy as sa

from app.core.db.unit_of_work import db, writing
from app.core.jobs.queue import Job
from app.core.jobs.runner import Runner
from app.core.values import utcnow

EVERY = 600.0
"""Seconds between two looks."""
AT_ONCE = 5000
KEPT = {"done": timedelta(days=7), "failed": timedelta(days=90)}
"""What failed is looked into, and counted by the metrics; of what is done, its subject tells."""

jobs = Job.__table__


def register_jobs(runner: Runner) -> None:
    runner.repeat("ended jobs", forget_ended, every=EVERY)


def forget_ended() -> int:
    """Delete the jobs that ended long ago, a few at a time; answers how many."""
    deleted = 0
    for state, age in KEPT.items():
        old = sa.select(jobs.c.id).where(jobs.c.state == state, jobs.c.ended_at < utcnow() - age).limit(AT_ONCE)
        while (count := _delete(old)) > 0:
            deleted += count
    return deleted


def _delete(old: sa.Select[tuple[int]]) -> int:
    with writing():
        return len(db.session.scalars(sa.delete(jobs).where(jobs.c.id.in_(old)).returning(jobs.c.id)).all())
