"""Expiry of assignments: released once, by the system, whatever worker dies or user interferes meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.jobs.queue import ATTEMPTS, Job
from app.core.jobs.runner import Runner, runner_of
from app.core.values import utcnow
from app.gpus import expiry
from app.gpus.models import Gpu, GpuAssignment
from app.proof.report import FindingKind, Status
from app.proof.sealer import seal
from app.proof.verification import verify
from tests.client import Body, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.threads import run_concurrently


@pytest.fixture
def gpu(make: Make) -> Gpu:
    return make(Gpu, model="H100")


def assign(client: Client, gpu: Gpu, minutes: float | None = 5) -> Body:
    until = None if minutes is None else (utcnow() + timedelta(minutes=minutes)).isoformat()
    body = {"user_id": client.user.id, "expires_at": until}
    data: Body = client.call("POST", f"/api/gpus/{gpu.id}/assign", json=body)["data"]
    return data


def pass_time(app: Flask, minutes: float) -> None:
    """Move all due times, expiries and leases into the past by so many minutes."""
    with app.app_context():
        for column in (GpuAssignment.expires_at, Job.due_at, Job.lease_expires_at):
            table = column.class_.__table__
            for row_id, moment in db.session.execute(sa.select(table.c.id, column).where(column.is_not(None))).all():
                earlier = {column.key: moment - timedelta(minutes=minutes)}
                db.session.execute(sa.update(table).where(table.c.id == row_id).values(earlier))
        db.session.commit()


def rename(app: Flask, table: str, name: str) -> None:
    with app.app_context():
        db.session.execute(sa.text(f"ALTER TABLE {table} RENAME TO {name}"))
        db.session.commit()


def status(client: Client, gpu: Gpu) -> str:
    return str(client.call("GET", f"/api/gpus/{gpu.id}")["data"]["status"])


def history(client: Client, gpu: Gpu) -> list[Body]:
    entries: list[Body] = client.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"]
    return entries


def records(admin: Client, gpu: Gpu) -> list[Body]:
    query = {"resource_type": "gpus", "resource_id": gpu.id, "sort": "id"}
    records: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return records


def set_job(app: Flask, **values: Any) -> None:
    with app.app_context():
        db.session.execute(sa.update(Job).values(**values))
        db.session.commit()


def test_gpu_is_released_when_its_assignment_expires(app: Flask, gpu: Gpu, admin: Client, user: Client) -> None:
    assign(user, gpu)
    assert runner_of(app).run_pending() == 0
    assert status(user, gpu) == "assigned"
    pass_time(app, 5)
    assert runner_of(app).run_pending() == 1
    data = user.call("GET", f"/api/gpus/{gpu.id}")["data"]
    assert (data["status"], data["assigned_to"], data["assigned_at"]) == ("available", None, None)
    (entry,) = history(user, gpu)
    assert entry["released_by"] == "system"
    assert entry["released_at"] >= entry["expires_at"]


def test_release_is_audited_as_made_by_the_system(app: Flask, gpu: Gpu, admin: Client, user: Client) -> None:
    assign(user, gpu)
    pass_time(app, 5)
    runner_of(app).run_pending()
    assigned, released = records(admin, gpu)[1:]
    assert (released["action"], released["version"]) == ("release", 3)
    assert (released["user_id"], released["username"], released["ip_address"]) == (None, "system", None)
    assert released["reason"] == "The assignment has expired."
    assert released["request_id"] != assigned["request_id"]


def test_assignment_without_expiry_stays(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu, None)
    assert runner_of(app).run_pending() == 0
    with app.app_context():
        assert db.session.scalars(sa.select(Job)).all() == []


def test_expiry_does_not_end_a_later_assignment(app: Flask, gpu: Gpu, user: Client, other: Client) -> None:
    assign(user, gpu)
    user.call("POST", f"/api/gpus/{gpu.id}/release")
    assign(other, gpu, 60)
    pass_time(app, 5)
    assert runner_of(app).run_pending() == 1
    assert [entry["released_by"] for entry in history(user, gpu)] == [None, user.user.username]
    assert status(user, gpu) == "assigned"


def test_deleted_gpu_is_ignored(app: Flask, gpu: Gpu, admin: Client) -> None:
    assign(admin, gpu)
    admin.call("DELETE", f"/api/gpus/{gpu.id}")
    pass_time(app, 5)
    assert runner_of(app).run_pending() == 1


def test_job_that_runs_too_early_is_postponed(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu)
    set_job(app, due_at=utcnow() - timedelta(seconds=1))
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "assigned"
    with app.app_context():
        due, expires = db.session.scalar(sa.select(Job.due_at)), db.session.scalar(sa.select(GpuAssignment.expires_at))
    assert due is not None
    assert expires is not None
    assert abs(due - expires) < timedelta(seconds=5)
    pass_time(app, 6)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "available"


def test_job_of_a_dead_worker_is_taken_over(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu)
    pass_time(app, 5)
    set_job(app, state="running", holder="gone", attempts=1, lease_expires_at=utcnow() + timedelta(seconds=30))
    assert runner_of(app).run_pending() == 0
    pass_time(app, 1)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "available"


def test_job_of_a_worker_that_died_after_its_commit_is_harmless(
    app: Flask, gpu: Gpu, admin: Client, user: Client
) -> None:
    assign(user, gpu)
    pass_time(app, 5)
    runner_of(app).run_pending()
    assign(user, gpu, None)
    past = utcnow() - timedelta(seconds=1)
    set_job(app, state="running", holder="gone", attempts=1, lease_expires_at=past)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "assigned"
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign", "release", "assign"]


def test_job_is_never_given_up(app: Flask, gpu: Gpu, user: Client) -> None:
    """A job that has used up its attempts is queued again: a crash must not leave the GPU assigned forever."""
    assign(user, gpu)
    pass_time(app, 5)
    past = utcnow() - timedelta(seconds=1)
    set_job(app, state="running", holder="gone", attempts=ATTEMPTS, lease_expires_at=past)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "assigned"
    pass_time(app, 2)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "available"


def test_release_that_cannot_be_written_is_retried(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu)
    pass_time(app, 5)
    rename(app, "gpu_assignments", "away")
    try:
        assert runner_of(app).run_pending() == 1
    finally:
        rename(app, "away", "gpu_assignments")
    assert status(user, gpu) == "assigned"
    pass_time(app, 2)
    assert runner_of(app).run_pending() == 1
    assert status(user, gpu) == "available"


@pytest.mark.race
def test_concurrent_releases_by_workers_and_holder_count_once(
    app: Flask, gpu: Gpu, admin: Client, user: Client, build_app: BuildApp
) -> None:
    """Four runners and two requests of the holder release the same GPU at once."""

    def worker() -> Runner:
        runner = Runner(app)
        expiry.register_jobs(runner)
        return runner

    assign(user, gpu)
    pass_time(app, 5)
    release = partial(user.call, "POST", f"/api/gpus/{gpu.id}/release", expect=(200, 409))
    run_concurrently([*(worker().run_pending for _ in range(4)), *(lambda: release()["code"] for _ in range(2))])
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign", "release"]
    (entry,) = history(user, gpu)
    assert entry["released_by"] in ("system", user.user.username)


def delete_and_restore(admin: Client, gpu: Gpu, between: Callable[[], object] = lambda: None) -> None:
    admin.call("DELETE", f"/api/gpus/{gpu.id}")
    between()
    deletion = records(admin, gpu)[-1]
    admin.call("POST", f"/api/audit-logs/{deletion['id']}/restore")


def test_a_restored_gpu_is_released_when_its_assignment_expires(
    app: Flask, gpu: Gpu, admin: Client, user: Client
) -> None:
    assign(user, gpu)
    delete_and_restore(admin, gpu)
    runner_of(app).run_pending()
    assert status(user, gpu) == "assigned"
    pass_time(app, 5)
    runner_of(app).run_pending()
    assert status(user, gpu) == "available"
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign", "delete", "restore", "release"]


def test_a_gpu_that_was_deleted_when_its_assignment_expired_is_released_after_its_restore(
    app: Flask, gpu: Gpu, admin: Client, user: Client
) -> None:
    def expire_deleted() -> None:
        pass_time(app, 5)
        assert runner_of(app).run_pending() == 1

    assign(user, gpu)
    delete_and_restore(admin, gpu, expire_deleted)
    assert status(user, gpu) == "assigned"
    runner_of(app).run_pending()
    assert status(user, gpu) == "available"
    (entry,) = history(user, gpu)
    assert entry["released_by"] == "system"


def extend(client: Client, gpu: Gpu, minutes: float | None, expect: int = 200) -> Body:
    until = None if minutes is None else (utcnow() + timedelta(minutes=minutes)).isoformat()
    return client.call("POST", f"/api/gpus/{gpu.id}/extend", json={"expires_at": until}, expect=expect)


def test_an_extended_assignment_ends_at_its_new_time(app: Flask, gpu: Gpu, admin: Client, user: Client) -> None:
    held = assign(user, gpu, minutes=5)
    extended = extend(user, gpu, minutes=60)["data"]
    assert (extended["assigned_at"], extended["assigned_to"]) == (held["assigned_at"], held["assigned_to"])
    pass_time(app, 5)
    runner_of(app).run_pending()
    assert status(user, gpu) == "assigned"
    pass_time(app, 60)
    runner_of(app).run_pending()
    assert status(user, gpu) == "available"
    assert len(history(user, gpu)) == 1
    assert [record["action"] for record in records(admin, gpu)] == ["create", "assign", "extend", "release"]


def test_an_assignment_may_end_earlier_or_never(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu, minutes=60)
    extend(user, gpu, minutes=5)
    extend(user, gpu, minutes=None)
    pass_time(app, 120)
    runner_of(app).run_pending()
    assert status(user, gpu) == "assigned"
    extend(user, gpu, minutes=5)
    pass_time(app, 5)
    runner_of(app).run_pending()
    assert status(user, gpu) == "available"


def test_an_extension_is_refused_to_others_of_free_gpus_and_into_the_past(
    gpu: Gpu, admin: Client, user: Client
) -> None:
    assert extend(user, gpu, 5, expect=409)["data"]["reason"] == "gpu_not_assigned"
    assign(admin, gpu)
    assert extend(user, gpu, 5, expect=403)["data"]["reason"] == "not_holder"
    assert extend(admin, gpu, -5, expect=422)["data"]["problems"]["expires_at"][0]["rule"] == "future"


def test_an_extension_is_part_of_what_the_records_tell(app: Flask, gpu: Gpu, user: Client) -> None:
    assign(user, gpu)
    extend(user, gpu, 60)
    extend(user, gpu, None)
    with app.app_context():
        seal()
        assert verify().status is Status.INTACT
        db.session.execute(sa.update(GpuAssignment).values(expires_at=utcnow()))
        db.session.commit()
        assert [finding.kind for finding in verify().findings] == [FindingKind.ROW_CHANGED]
