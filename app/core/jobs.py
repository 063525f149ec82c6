"""Work that outlives its request: the row in the database is the truth, a thread only carries it out.

A job is claimed by one UPDATE, holds a lease that it renews while it lives, and is taken over when the lease has
run out. Whoever dies, the row says what became of the work.
"""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import Flask, g
from sqlalchemy import event
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.core.database import Base, Id, Json, UtcDateTime, db, utcnow
from app.core.origin import Origin, current_origin

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
HEARTBEAT = 5.0
"""Seconds between renewals of a lease, and between looks for work that nobody announced."""
ATTEMPTS = 3


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(64))
    subject_id: Mapped[int] = mapped_column(Id)
    origin: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(sa.String(16), default="queued", index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    holder: Mapped[str | None] = mapped_column(sa.String(32))

    __table_args__ = ({"sqlite_autoincrement": True},)


Handler = Callable[[int], None]
GiveUp = Callable[[int, str], None]


class Runner:
    """Carries out queued jobs in a thread of this process.

    A handler is called with the job's subject inside an application context, in the name of the origin that
    queued it. It commits its own work. When it has failed or died `ATTEMPTS` times, its `give_up` is called
    with one sentence that says so.
    """

    def __init__(self) -> None:
        self._app: Flask | None = None
        self._kinds: dict[str, tuple[Handler, GiveUp]] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = uuid.uuid4().hex

    def init_app(self, app: Flask) -> None:
        self._app = app

    def register(self, kind: str, handler: Handler, give_up: GiveUp) -> None:
        self._kinds[kind] = (handler, give_up)

    def start(self) -> None:
        """Begin to look for work; called by the server, never by importing the application."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def wake(self) -> None:
        self._wake.set()

    def run_pending(self) -> int:
        """Carry out what is queued, here and now; answers how many jobs were run."""
        done = 0
        while (job := self._claim()) is not None:
            self._carry_out(*job)
            done += 1
        return done

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.run_pending()
            except Exception as error:  # noqa: BLE001 - the database may be away; the next look may find it
                log.warning("jobs_paused", error=repr(error))
            self._wake.wait(HEARTBEAT)

    def _claim(self) -> tuple[int, str, int, dict[str, Any], int] | None:
        """Take the oldest job that waits, or whose holder has stopped renewing its lease."""
        jobs = Job.__table__
        assert self._app is not None
        with self._app.app_context():
            now = utcnow()
            open_to_all = sa.or_(
                jobs.c.state == "queued",
                sa.and_(jobs.c.state == "running", jobs.c.lease_expires_at < now),
            )
            oldest = sa.select(jobs.c.id).where(open_to_all).order_by(jobs.c.id).limit(1)
            claim = (
                sa.update(jobs)
                .where(jobs.c.id == oldest.with_for_update(skip_locked=True).scalar_subquery())
                .values(
                    state="running",
                    holder=self._name,
                    attempts=jobs.c.attempts + 1,
                    lease_expires_at=now + LEASE,
                )
                .returning(jobs.c.id, jobs.c.kind, jobs.c.subject_id, jobs.c.origin, jobs.c.attempts)
            )
            db.session.info["reading"] = True
            if db.session.scalar(oldest) is None:
                return None
            db.session.rollback()
            db.session.info["reading"] = False
            row = db.session.execute(claim).one_or_none()
            db.session.commit()
            return None if row is None else tuple(row)

    def _carry_out(self, job_id: int, kind: str, subject_id: int, origin: dict[str, Any], attempts: int) -> None:
        handler, give_up = self._kinds[kind]
        assert self._app is not None
        alive = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(job_id, alive), daemon=True)
        renewal.start()
        failure: str | None = None
        try:
            if attempts > ATTEMPTS:
                failure = f"The work was begun {ATTEMPTS} times and its process died each time."
            else:
                with self._app.app_context():
                    g.origin = Origin(**origin)
                    handler(subject_id)
        except Exception:
            log.exception("job_failed", job=job_id, kind=kind, subject=subject_id)
            failure = "The server made a mistake. It has been logged."
        finally:
            alive.set()
            renewal.join()
        with self._app.app_context():
            g.origin = Origin(**origin)
            jobs = Job.__table__
            # Another runner has it by now, if this one could not renew its lease.
            still_ours = sa.and_(jobs.c.id == job_id, jobs.c.holder == self._name)
            state = "failed" if failure else "done"
            ended = db.session.execute(sa.update(jobs).where(still_ours).values(state=state).returning(jobs.c.id))
            if ended.one_or_none() is not None and failure is not None:
                give_up(subject_id, failure)
            db.session.commit()

    def _renew(self, job_id: int, finished: threading.Event) -> None:
        jobs = Job.__table__
        assert self._app is not None
        while not finished.wait(HEARTBEAT):
            try:
                with self._app.app_context():
                    db.session.execute(
                        sa.update(jobs)
                        .where(jobs.c.id == job_id, jobs.c.holder == self._name)
                        .values(lease_expires_at=utcnow() + LEASE)
                    )
                    db.session.commit()
            except sa.exc.DBAPIError:
                time.sleep(0)


runner = Runner()


def enqueue(kind: str, subject_id: int) -> None:
    """Queue work about a subject in the current transaction; it starts after the commit, never before."""
    db.session.execute(
        sa.insert(Job.__table__).values(
            kind=kind,
            subject_id=subject_id,
            origin=current_origin().as_dict(),
            created_at=utcnow(),
            state="queued",
            attempts=0,
        )
    )
    db.session.info["jobs_queued"] = True


@event.listens_for(Session, "after_commit")
def _start_after_commit(session: Session) -> None:
    if session.info.pop("jobs_queued", False):
        runner.wake()


@event.listens_for(Session, "after_rollback")
def _forget_after_rollback(session: Session) -> None:
    session.info.pop("jobs_queued", None)
