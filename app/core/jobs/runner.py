"""Background jobs: the row is authoritative, threads only execute it.

A job is claimed by one UPDATE and holds a lease, which is renewed while it runs; after an expired lease another
process takes it over. With Redis, which wakes them, the threads belong to worker processes, else to the server.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import Flask
from prometheus_client import Histogram
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core import tracing
from app.core.db.measurement import counts
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import act_in, writing
from app.core.errors import ApiError
from app.core.jobs import queue
from app.core.jobs.queue import ATTEMPTS, ClaimedJob, Job
from app.core.messages import tr
from app.core.request_context import RequestContext
from app.core.values import utcnow

log = structlog.get_logger()

job_seconds = Histogram(
    "itam_job_duration_seconds",
    "Seconds from the begin of a job to its end.",
    ["kind", "outcome"],
    buckets=(0.05, 0.2, 1, 5, 20, 60, 300, 1800),
)

HEARTBEAT_SECONDS = 3.0
"""Seconds between renewals of a lease."""
POLL_SECONDS = 3.0
"""Seconds between polls of the queue, for jobs whose announcement was lost."""
RETRY_SECONDS = 0.5
"""Seconds between attempts while the database or the storage is away. So short that waiting work is done, and readiness
is `ok` again, within two seconds of its return."""
GRACE_SECONDS = 5.0
"""Seconds that a running job has to finish when its process stops."""
MAX_DELAY = timedelta(seconds=30)
"""How long a due job may wait in an idle lane before the queue is reported as late."""
AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
"""The errors of a database or a storage that is away."""

Handler = Callable[[int], None]
GiveUp = Callable[[int, str], None]


class Later(Exception):
    """Raised by a handler that cannot run now: the job is queued again for later, and has not failed."""

    def __init__(self, delay: timedelta) -> None:
        self.delay = delay
        super().__init__(f"Not within {delay}.")


@dataclass(frozen=True, slots=True)
class Lane:
    """Kinds of job that run one after the other, in one thread of each process."""

    kinds: dict[str, tuple[Handler, GiveUp]] = field(default_factory=dict)
    wake: threading.Event = field(default_factory=threading.Event)


class Runner:
    """Runs queued jobs, each lane in a thread of this process.

    A handler is called with the job's subject inside an application context, in the name of the origin that
    queued it. It reads and writes in blocks of its own. When it has failed or died `ATTEMPTS` times, its `give_up` is
    called with one sentence that says so, in the transaction that ends the job.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lanes: dict[str, Lane] = {}
        self._repeated: dict[str, tuple[Callable[[], object], float]] = {}
        self._stopping = threading.Event()
        self._held: set[int] = set()
        self._threads: list[threading.Thread] = []
        # Begins with the process id, so that an administrator finds the process.
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:16]}"

    def register(self, kind: str, handler: Handler, give_up: GiveUp, *, lane: str = "work") -> None:
        """Register the handler of a kind of job; jobs that must not wait behind others have a lane of their own."""
        self._lanes.setdefault(lane, Lane()).kinds[kind] = (handler, give_up)

    def repeat(self, name: str, action: Callable[[], object], *, every: float) -> None:
        """Register an action that each process repeats after `every` seconds, in a thread of its own.

        The action itself ensures that of several processes only one does the work.
        """
        self._repeated[name] = (action, every)

    def start(self) -> None:
        """Start the threads; called by the server and the worker, never by importing the application."""
        self._stopping.clear()
        for name, lane in self._lanes.items():
            self._begin(name, self._work, lane)
        for name, (action, every) in self._repeated.items():
            self._begin(name, self._repeat, name, action, every)

    def _begin(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name=f"jobs-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Start no more jobs, and release those not done within GRACE_SECONDS, so that others run them at once."""
        self._stopping.set()
        self.wake()
        self._join(GRACE_SECONDS)
        if self._held:
            # It may wait for a lock that a running job holds; then the lease expires instead.
            self._begin("release", self._release_jobs)
            self._join(1)
        self._threads.clear()

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def wake(self, kinds: Collection[str] | None = None) -> None:
        """Have the lanes of these kinds of job poll the queue now, or all lanes."""
        for lane in self._lanes.values():
            if kinds is None or not lane.kinds.keys().isdisjoint(kinds):
                lane.wake.set()

    def run_pending(self) -> int:
        """Run the due jobs in this thread; returns how many."""
        done = 0
        for lane in self._lanes.values():
            while self._run_next(lane):
                done += 1
        return done

    def is_alive(self) -> bool:
        """Whether each thread runs that `start` has started."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def is_late(self) -> bool:
        """Whether a due job waits for longer than MAX_DELAY in an idle lane: no worker runs, or none gets on."""
        jobs = Job.__table__
        now = utcnow()
        waits_since = sa.case(
            (jobs.c.state == "running", jobs.c.lease_expires_at),
            else_=sa.func.coalesce(jobs.c.due_at, jobs.c.created_at),
        )
        waiting = sa.select(jobs.c.kind, jobs.c.state, sa.func.min(waits_since), sa.func.max(waits_since))
        rows = read_rows(
            waiting.where(jobs.c.state.in_(("queued", "running"))).group_by(jobs.c.kind, jobs.c.state)
        ).all()
        lane_of = {kind: name for name, lane in self._lanes.items() for kind in lane.kinds}
        busy = {lane_of.get(kind) for kind, state, _, latest in rows if state == "running" and latest > now}
        return any(lane_of.get(kind) not in busy for kind, _, oldest, _ in rows if oldest < now - MAX_DELAY)

    def _run_next(self, lane: Lane) -> bool:
        """Run the next job of a lane, if there is one."""
        with self._app.app_context():
            job = queue.claim(lane.kinds, self._name)
        if job is None:
            return False
        self._held.add(job.id)
        self._run(lane, job)
        return True

    def _work(self, lane: Lane) -> None:
        pause = POLL_SECONDS
        while not self._stopping.is_set():
            lane.wake.clear()
            try:
                while not self._stopping.is_set() and self._run_next(lane):
                    pass
                pause = POLL_SECONDS
            except Exception as error:  # noqa: BLE001 - the database may be away; the next poll tries again
                if pause != RETRY_SECONDS:
                    log.warning("jobs_paused", error=repr(error))
                pause = RETRY_SECONDS
            lane.wake.wait(pause)

    def _repeat(self, name: str, action: Callable[[], object], every: float) -> None:
        pause = every
        while not self._stopping.wait(pause):
            try:
                with self._app.app_context():
                    action()
                pause = every
            except AWAY as error:
                if pause == every:
                    log.warning("repeated_work_failed", work=name, error=repr(error))
                pause = min(every, RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - it is repeated anyway
                log.warning("repeated_work_failed", work=name, error=repr(error))
                pause = every

    def _run(self, lane: Lane, job: ClaimedJob) -> None:
        handler, give_up = lane.kinds[job.kind]
        began, statements, rows = time.perf_counter(), counts.statements, counts.rows
        finished = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(job.id, finished), daemon=True)
        renewal.start()
        failure: str | None = None
        delay: timedelta | None = None
        try:
            if job.attempts > ATTEMPTS:
                failure = tr("The work was begun {count} times and its process died each time.", count=ATTEMPTS)
            else:
                with self._in_name_of(job):
                    if tracing.EXTENSION in self._app.extensions:
                        handler = _traced(handler, job)
                    handler(job.subject_id)
        except Later as later:
            delay = later.delay
        except Exception:
            with self._in_name_of(job):
                log.exception("job_failed", job=job.id, kind=job.kind, subject=job.subject_id)
            failure = ApiError.message
        finally:
            finished.set()
            renewal.join()
        with self._in_name_of(job):
            outcome = "failed" if failure else "done" if delay is None else "later"
            with writing():
                if delay is not None:
                    queue.put_off(job.id, self._name, delay)
                elif queue.end(job.id, self._name, outcome) and failure:
                    give_up(job.subject_id, failure)
            job_seconds.labels(job.kind, outcome).observe(time.perf_counter() - began)
            log.info(
                "job",
                job=job.id,
                kind=job.kind,
                subject=job.subject_id,
                outcome=outcome,
                ms=round((time.perf_counter() - began) * 1000, 2),
                statements=counts.statements - statements,
                rows=counts.rows - rows,
            )
        self._held.discard(job.id)

    @contextmanager
    def _in_name_of(self, job: ClaimedJob) -> Iterator[None]:
        """An application context in which the origin of a job acts; log lines have its request's id."""
        with self._app.app_context():
            act_in(RequestContext(**job.origin))
            yield

    def _renew(self, job_id: int, finished: threading.Event) -> None:
        pause = HEARTBEAT_SECONDS
        while not finished.wait(pause):
            pause = HEARTBEAT_SECONDS
            try:
                with self._app.app_context():
                    queue.renew(job_id, self._name)
            except SQLAlchemyError:
                log.warning("lease_not_renewed", job=job_id)
                pause = RETRY_SECONDS

    def _release_jobs(self) -> None:
        with self._app.app_context():
            queue.release_jobs(self._held, self._name)


def _traced(handler: Handler, job: ClaimedJob) -> Handler:
    def run(subject_id: int) -> None:
        end_span = tracing.begin(f"job {job.kind}", **{"itam.job": job.id, "itam.subject": subject_id})
        try:
            handler(subject_id)
        finally:
            end_span()

    return run


def init_app(app: Flask) -> Runner:
    """Give an application its runner; no thread runs before `start`."""
    runner = app.extensions["jobs"] = Runner(app)
    return runner


def runner_of(app: Flask) -> Runner:
    runner: Runner = app.extensions["jobs"]
    return runner
