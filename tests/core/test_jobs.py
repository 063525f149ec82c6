"""Jobs: done once, after the commit, in the name of whoever queued them, whoever dies meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import act_in, current_context, db
from app.core.jobs import retention
from app.core.jobs import runner as jobs
from app.core.jobs.queue import ATTEMPTS, Job, enqueue
from app.core.jobs.runner import Runner
from app.core.request_context import RequestContext
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from tests.backends import on_sqlite
from tests.client import Client
from tests.threads import TIMEOUT_SECONDS, run_concurrently

NewRunner = Callable[[], Runner]

ORIGIN = RequestContext(request_id="request-1", user_id=7, username="ada", ip_address="192.0.2.7", reason="Ticket 1")


class Work:
    """What the runners were asked to do: handled subjects, given up subjects, and in whose name."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.given_up: list[tuple[int, str]] = []
        self.origins: list[RequestContext] = []
        self.handle: Callable[[int], None] = lambda _: None

    def handler(self, subject: int) -> None:
        self.handled.append(subject)
        self.origins.append(current_context())
        self.handle(subject)

    def give_up(self, subject: int, reason: str) -> None:
        self.given_up.append((subject, reason))
        self.origins.append(current_context())


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def new_runner(app: Flask, work: Work) -> NewRunner:
    def new_runner() -> Runner:
        runner = Runner(app)
        runner.register("test", work.handler, work.give_up)
        return runner

    return new_runner


def queue(app: Flask, *subjects: int) -> None:
    with app.app_context():
        act_in(ORIGIN)
        for subject in subjects:
            enqueue("test", subject)
        db.session.commit()


def states(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Job.state).order_by(Job.id)))


def set_job(app: Flask, **values: Any) -> None:
    """Leave the job as a runner that is gone has left it."""
    with app.app_context():
        db.session.execute(sa.update(Job).values(**values))
        db.session.commit()


def test_a_job_is_done_once(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 4711)
    first, second = new_runner(), new_runner()
    assert (first.run_pending(), second.run_pending(), first.run_pending()) == (1, 0, 0)
    assert (work.handled, work.given_up, states(app)) == ([4711], [], ["done"])


def test_jobs_are_done_in_their_order(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 3, 1, 2)
    assert new_runner().run_pending() == 3
    assert work.handled == [3, 1, 2]


@pytest.mark.race
def test_of_many_runners_at_once_each_job_has_one(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, *range(20))
    runners = [new_runner() for _ in range(4)]
    assert sum(run_concurrently([runner.run_pending for runner in runners])) == 20
    assert sorted(work.handled) == list(range(20))
    assert states(app) == ["done"] * 20


@pytest.mark.race
def test_a_job_waits_for_the_commit(app: Flask, work: Work, new_runner: NewRunner) -> None:
    runner = new_runner()
    with app.app_context():
        enqueue("test", 1)
        if db.engine.dialect.name != "sqlite":
            # On SQLite nobody can write beside us, so nobody can claim it either.
            assert run_concurrently([runner.run_pending]) == [0]
        db.session.commit()
    assert runner.run_pending() == 1


def test_a_job_that_is_rolled_back_is_none(app: Flask, work: Work, new_runner: NewRunner) -> None:
    with app.app_context():
        enqueue("test", 1)
        db.session.rollback()
        db.session.commit()
    assert new_runner().run_pending() == 0
    assert states(app) == []


def test_the_runner_is_woken_by_the_commit_and_not_before(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.extensions, "jobs", runner := Runner(app))
    runner.register("test", lambda _: None, lambda *_: None)
    (lane,) = runner._lanes.values()
    with app.app_context():
        enqueue("test", 1)
        assert not lane.wake.is_set()
        db.session.rollback()
        db.session.execute(sa.select(Job))
        db.session.commit()
        assert not lane.wake.is_set()
        enqueue("test", 1)
        db.session.commit()
        assert lane.wake.is_set()


def test_it_is_done_in_the_name_of_whoever_queued_it(
    app: Flask, work: Work, new_runner: NewRunner, admin: Client
) -> None:
    def create(_subject: int) -> None:
        db.session.add(Datacenter(name="made by a job"))
        db.session.commit()

    work.handle = create
    queue(app, 1)
    new_runner().run_pending()
    assert work.origins == [ORIGIN]
    record = admin.call("GET", "/api/audit-logs", query_string={"resource_type": "datacenters"})["data"][0]
    assert (record["user_id"], record["username"], record["request_id"]) == (7, "ada", "request-1")
    assert (record["ip_address"], record["reason"]) == ("192.0.2.7", "Ticket 1")


def test_a_handler_that_fails_is_given_up(app: Flask, work: Work, new_runner: NewRunner) -> None:
    def fail(subject: int) -> None:
        if subject == 1:
            db.session.add(Datacenter(name="half done"))
            db.session.flush()
            raise ValueError("$2b$ secret")

    work.handle = fail
    queue(app, 1, 2)
    assert new_runner().run_pending() == 2
    assert work.handled == [1, 2]
    ((subject, reason),) = work.given_up
    assert subject == 1
    assert reason.endswith(".")
    assert "secret" not in reason
    assert states(app) == ["failed", "done"]
    assert work.origins == [ORIGIN] * 3
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Datacenter)) == 0


def test_a_job_whose_runner_is_gone_is_taken_over(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 1)
    now = utcnow()
    set_job(app, state="running", holder="gone", attempts=1, lease_expires_at=now + timedelta(seconds=30))
    assert new_runner().run_pending() == 0
    set_job(app, lease_expires_at=now - timedelta(seconds=1))
    assert new_runner().run_pending() == 1
    assert (work.handled, states(app)) == ([1], ["done"])


def test_a_job_that_kills_its_runners_is_given_up(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 1)
    past = utcnow() - timedelta(seconds=1)
    set_job(app, state="running", holder="gone", attempts=ATTEMPTS, lease_expires_at=past)
    assert new_runner().run_pending() == 1
    assert work.handled == []
    assert [subject for subject, _ in work.given_up] == [1]
    assert states(app) == ["failed"]
    assert new_runner().run_pending() == 0


def test_a_lease_is_renewed_while_its_runner_lives(
    app: Flask, work: Work, new_runner: NewRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.01)
    queue(app, 1)
    renewed: list[Any] = []

    def lease() -> Any:
        with app.app_context():
            return db.session.scalar(sa.select(Job.lease_expires_at))

    def wait_for_renewal(_subject: int) -> None:
        (first,) = run_concurrently([lease])
        deadline = first + timedelta(seconds=TIMEOUT_SECONDS)
        while not renewed and utcnow() < deadline:
            (now,) = run_concurrently([lease])
            renewed.extend([now] if now > first else [])

    work.handle = wait_for_renewal
    assert new_runner().run_pending() == 1
    assert renewed
    assert states(app) == ["done"]


def test_a_runner_that_lost_its_job_does_not_end_it(app: Flask, work: Work, new_runner: NewRunner) -> None:
    """It slept for too long; another one has taken over and is still at it."""

    def lose(_subject: int) -> None:
        db.session.execute(sa.update(Job).values(holder="another", state="running"))
        db.session.commit()

    work.handle = lose
    queue(app, 1)
    new_runner().run_pending()
    assert states(app) == ["running"]


def test_a_started_runner_finds_work_and_stops(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 1)
    runner = new_runner()
    done = Event()
    work.handle = lambda _subject: done.set()
    runner.start()
    assert done.wait(TIMEOUT_SECONDS)
    runner.stop()
    assert states(app) == ["done"]


def test_a_job_that_is_let_go_is_somebody_elses_at_once(
    app: Flask, work: Work, new_runner: NewRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that is told to stop has no failed attempt, and does not end what another has begun."""
    monkeypatch.setattr(jobs, "GRACE_SECONDS", 0.1)
    queue(app, 1)
    begun, free = Event(), Event()

    def hold(_subject: int) -> None:
        begun.set()
        free.wait(TIMEOUT_SECONDS)

    work.handle = hold
    first, second = new_runner(), new_runner()
    first.start()
    (thread,) = first._threads
    assert begun.wait(TIMEOUT_SECONDS)
    first.stop()
    with app.app_context():
        assert db.session.execute(sa.select(Job.state, Job.attempts, Job.holder)).one() == ("queued", 0, None)
    work.handle = lambda _: None
    assert second.run_pending() == 1
    free.set()
    thread.join(TIMEOUT_SECONDS)
    assert (work.handled, work.given_up, states(app)) == ([1, 1], [], ["done"])


def test_repeated_work_is_tried_again_soon_while_a_dependency_is_away(
    new_runner: NewRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has waited for the database is done within two seconds of its return, not only when its turn comes."""
    errors = [sa.exc.OperationalError("SELECT 1", {}, Exception("away")), OSError("away"), ValueError("a bug"), None]
    pauses: list[float] = []
    runner = new_runner()

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) > len(errors)

    def work() -> None:
        if error := errors[len(pauses) - 1]:
            raise error

    monkeypatch.setattr(runner._stopping, "wait", wait)
    runner.repeat("test", work, every=60)
    runner.start()
    runner._threads[-1].join(TIMEOUT_SECONDS)
    assert pauses == [60, jobs.RETRY_SECONDS, jobs.RETRY_SECONDS, 60, 60]
    runner.stop()


def test_a_runner_that_is_told_to_stop_begins_nothing(app: Flask, work: Work, new_runner: NewRunner) -> None:
    queue(app, 1, 2)
    runner = new_runner()

    def stop(_subject: int) -> None:
        runner._stopping.set()

    work.handle = stop
    runner.start()
    for thread in runner._threads:
        thread.join(TIMEOUT_SECONDS)
    assert (work.handled, states(app)) == ([1], ["done", "queued"])


@pytest.mark.parametrize(("state", "days"), [("done", 7), ("failed", 90)])
def test_what_has_ended_is_kept_for_a_while(
    app: Flask, work: Work, new_runner: NewRunner, monkeypatch: pytest.MonkeyPatch, state: str, days: int
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)

    def fail(_subject: int) -> None:
        if state == "failed":
            raise ValueError

    work.handle = fail
    queue(app, 1, 2, 3)
    assert new_runner().run_pending() == 3
    # Queued long ago, and not done: nobody forgets it.
    queue(app, 4)
    set_job(app, created_at=utcnow() - timedelta(days=1000))
    assert states(app) == [state] * 3 + ["queued"]
    for age, deleted in ((days - 1, 0), (days + 1, 3)):
        with app.app_context():
            ended = utcnow() - timedelta(days=age)
            db.session.execute(sa.update(Job).where(Job.ended_at.is_not(None)).values(ended_at=ended))
            db.session.commit()
            assert retention.delete_ended() == deleted
    assert states(app) == ["queued"]


@on_sqlite
def test_without_redis_no_other_process_may_work(app: Flask) -> None:
    """Its commits would not reach what the server remembers."""
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["worker"])
    assert result.exit_code == 1
    assert "REDIS_URL" in result.output


def test_readiness_says_when_nobody_works(
    app: Flask, work: Work, new_runner: NewRunner, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.extensions, "jobs", new_runner())

    def ready() -> tuple[str, str]:
        answer = anonymous.call("GET", "/api/health/ready")["data"]
        return answer["status"], answer["queue"]

    queue(app, 1)
    assert ready() == ("ok", "ok"), "It has just been queued."
    now = utcnow()
    set_job(app, created_at=now - timedelta(minutes=1))
    assert ready() == ("degraded", "late")
    set_job(app, due_at=now + timedelta(days=1))
    assert ready() == ("ok", "ok"), "It was put off."
    set_job(app, due_at=None, state="running", holder="another", lease_expires_at=now + timedelta(seconds=15))
    queue(app, 2)
    set_job(app, created_at=now - timedelta(minutes=1))
    assert ready() == ("ok", "ok"), "Somebody is at work, and the second job waits for the first."
    set_job(app, lease_expires_at=now - timedelta(minutes=1))
    assert ready() == ("degraded", "late"), "Nobody has taken over."
