"""The job queue, a table: jobs are queued in the caller's transaction, claimed by one UPDATE and held by a lease."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.endings import after_commit
from app.core.db.models import Base, Id, Json, UtcDateTime
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import current_context, db, reading, writing
from app.core.jobs import pubsub
from app.core.values import utcnow

LEASE = timedelta(seconds=15)
"""How long a job stays with a process that has died; all ATTEMPTS end within a minute."""
ATTEMPTS = 3


class Job(Base):
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(64))
    subject_id: Mapped[int] = mapped_column(Id)
    origin: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(sa.String(16), default="queued", index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    # The job does not start before this time.
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    holder: Mapped[str | None] = mapped_column(sa.String(32))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = ({"sqlite_autoincrement": True},)


jobs = Job.__table__


class ClaimedJob(NamedTuple):
    """A job that this process has claimed."""

    id: int
    kind: str
    subject_id: int
    origin: dict[str, Any]
    attempts: int


def enqueue(kind: str, subject_id: int, *, due_at: datetime | None = None) -> None:
    """Queue a job about a subject in the current transaction; it starts after the commit, and not before `due_at`."""
    db.session.execute(
        sa.insert(jobs).values(
            kind=kind,
            subject_id=subject_id,
            origin=current_context().as_dict(),
            created_at=utcnow(),
            due_at=due_at,
            state="queued",
            attempts=0,
        )
    )
    after_commit(_announce, kind)


def claim(kinds: Collection[str], holder: str) -> ClaimedJob | None:
    """Claim the oldest due job of these kinds, or one whose holder has stopped renewing its lease."""
    now = utcnow()
    open_to_all = sa.or_(
        sa.and_(jobs.c.state == "queued", sa.or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now)),
        sa.and_(jobs.c.state == "running", jobs.c.lease_expires_at < now),
    )
    oldest = sa.select(jobs.c.id).where(jobs.c.kind.in_(kinds), open_to_all).order_by(jobs.c.id).limit(1)
    claim = (
        sa.update(jobs)
        .where(jobs.c.id == oldest.with_for_update(skip_locked=True).scalar_subquery())
        .values(state="running", holder=holder, attempts=jobs.c.attempts + 1, lease_expires_at=now + LEASE)
        .returning(jobs.c.id, jobs.c.kind, jobs.c.subject_id, jobs.c.origin, jobs.c.attempts)
    )
    with reading():
        if read_rows(oldest).first() is None:
            return None
    with writing():
        row = db.session.execute(claim).one_or_none()
    return None if row is None else ClaimedJob(*row)


def renew(job_id: int, holder: str) -> None:
    """Renew the lease of a job."""
    with writing():
        db.session.execute(sa.update(jobs).where(_held(job_id, holder)).values(lease_expires_at=utcnow() + LEASE))


def put_off(job_id: int, holder: str, delay: timedelta) -> None:
    """Queue a job again for later, in the current transaction; it does not count as an attempt."""
    values = {"state": "queued", "attempts": 0, "due_at": utcnow() + delay}
    db.session.execute(sa.update(jobs).where(_held(job_id, holder)).values(values))


def end(job_id: int, holder: str, state: str) -> bool:
    """End a job in the current transaction; False if its lease expired and another process holds it."""
    ended = sa.update(jobs).where(_held(job_id, holder)).values(state=state, ended_at=utcnow()).returning(jobs.c.id)
    return db.session.execute(ended).one_or_none() is not None


def release_jobs(job_ids: Collection[int], holder: str) -> None:
    """Queue the jobs of a process that stops on purpose again; that does not count as an attempt."""
    freed = (
        sa.update(jobs)
        .where(jobs.c.id.in_(list(job_ids)), jobs.c.holder == holder, jobs.c.state == "running")
        .values(state="queued", holder=None, lease_expires_at=None, attempts=jobs.c.attempts - 1)
        .returning(jobs.c.kind)
    )
    with writing():
        after_commit(_announce, *db.session.scalars(freed))


def _held(job_id: int, holder: str) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.id == job_id, jobs.c.holder == holder)


def _announce(kinds: Collection[str]) -> None:
    """Wake the threads of this process, and worker processes, for these kinds of job."""
    current_app.extensions["jobs"].wake(kinds)
    if current_app.config["REDIS_URL"]:
        pubsub.announce(kinds)
