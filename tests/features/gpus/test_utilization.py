"""GPU utilization: GPU-hours held, of GPU-hours that existed, per bucket and group."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.core.audit import recorder
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuAssignment
from app.servers.models import Server
from app.users.models import User
from tests.client import Body, Client
from tests.conftest import SignIn, Statements
from tests.factories import Make

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday."""
HOUR = timedelta(hours=1)

NewGpu = Callable[..., Gpu]


@pytest.fixture
def new_gpu(make: Make, monkeypatch: pytest.MonkeyPatch) -> NewGpu:
    """Make a GPU that was created `since` hours after START."""

    def new_gpu(since: float = -1000, **fields: Any) -> Gpu:
        with monkeypatch.context() as patch:
            patch.setattr(recorder, "utcnow", lambda: START + since * HOUR)
            return make(Gpu, **{"status": "available", **fields})

    return new_gpu


def hold(app: Flask, gpu: Gpu, user: User, since: float, until: float | None) -> None:
    """Store an assignment from `since` to `until` hours after START; None: it is still active."""
    with app.app_context():
        db.session.add(
            GpuAssignment(
                gpu_id=gpu.id,
                user_id=user.id,
                username=user.username,
                assigned_by="x",
                assigned_at=START + since * HOUR,
                released_at=None if until is None else START + until * HOUR,
            )
        )
        db.session.commit()


def at(hours: float) -> str:
    return (START + hours * HOUR).isoformat().replace("+00:00", "Z")


def utilization(client: Client, since: float = 0, until: float = 48, **query: str | int) -> Body:
    times = {"from": at(since), "to": at(until)}
    data: Body = client.call("GET", "/api/gpus/utilization", query_string={**times, **query})["data"]
    return data


def amounts(group: Body) -> tuple[float, float, float | None]:
    return group["held_hours"], group["existing_hours"], group["utilization"]


def test_hours_per_day(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    held, _idle = new_gpu(model="H100"), new_gpu(since=36, model="H100")
    hold(app, held, user.user, -5, 6)
    hold(app, held, user.user, 18, 30)
    report = utilization(user)
    assert (report["from"], report["to"]) == (at(0), at(48))
    assert amounts(report["total"]) == (18, 60, 0.3)
    first, second = report["total"]["buckets"]
    assert (first["from"], first["to"], amounts(first)) == (at(0), at(24), (12, 24, 0.5))
    assert (second["from"], second["to"], amounts(second)) == (at(24), at(48), (6, 36, 0.1667))
    (group,) = report["groups"]
    assert group == {"id": None, "name": "H100", **report["total"]}


def test_hours_of_random_periods_match_a_direct_sum(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    rng = random.Random(7)
    periods: list[tuple[float, float]] = []
    created: list[float] = []
    for _ in range(6):
        moment = rng.uniform(-20, 60)
        gpu = new_gpu(since=moment)
        created.append(moment)
        for _ in range(4):
            begin = moment + rng.uniform(0, 30)
            moment = begin + rng.uniform(0, 30)
            periods.append((begin, moment))
            hold(app, gpu, user.user, begin, moment)
    for bucket, width in (("hour", 1), ("day", 24), ("week", 168)):
        for since, until in ((0, 48), (-30, 100), (0.5, 50.25), (47.75, 48.25)):
            buckets = utilization(user, since, until, bucket=bucket)["total"]["buckets"]
            begin = since
            for entry in buckets:
                end = min(begin + width, until)
                assert (entry["from"], entry["to"]) == (at(begin), at(end))
                held = sum(max(0, min(b, end) - max(a, begin)) for a, b in periods)
                existing = sum(max(0, end - max(a, begin)) for a in created)
                assert entry["held_hours"] == pytest.approx(held, abs=0.002)
                assert entry["existing_hours"] == pytest.approx(existing, abs=0.002)
                begin = end
            assert begin == until


def test_by_model_datacenter_and_user(app: Flask, make: Make, new_gpu: NewGpu, admin: Client, user: Client) -> None:
    datacenter = make(Datacenter, name="SH-1")
    placed, unplaced = make(Server, datacenter_id=datacenter.id), make(Server, datacenter_id=None)
    hold(app, new_gpu(model="A100", server_id=placed.id), user.user, 0, 12)
    hold(app, new_gpu(model="H100", server_id=unplaced.id), admin.user, 0, 24)
    new_gpu(model="H100", server_id=placed.id)

    def groups(by: str) -> dict[tuple[int | None, str | None], Any]:
        return {(group["id"], group["name"]): amounts(group) for group in utilization(admin, by=by)["groups"]}

    assert groups("model") == {(None, "H100"): (24, 96, 0.25), (None, "A100"): (12, 48, 0.25)}
    assert groups("datacenter") == {(None, None): (24, 48, 0.5), (datacenter.id, "SH-1"): (12, 96, 0.125)}
    # By user, existing_hours is the total of all GPUs.
    assert groups("user") == {
        (admin.user.id, admin.user.username): (24, 144, 0.1667),
        (user.user.id, user.user.username): (12, 144, 0.0833),
    }
    for by in ("model", "datacenter", "user"):
        assert amounts(utilization(admin, by=by)["total"]) == (36, 144, 0.25)
        assert [group["held_hours"] for group in utilization(admin, by=by)["groups"]] == [24, 12]
        assert len(utilization(admin, by=by, limit=1)["groups"]) == 1


def test_users_see_only_their_own_group(
    app: Flask, new_gpu: NewGpu, admin: Client, user: Client, other: Client
) -> None:
    hold(app, new_gpu(), other.user, 0, 24)
    assert [group["id"] for group in utilization(admin, by="user")["groups"]] == [other.user.id]
    assert [group["id"] for group in utilization(other, by="user")["groups"]] == [other.user.id]
    seen = utilization(user, by="user")
    assert seen["groups"] == []
    assert amounts(seen["total"]) == (24, 48, 0.5)


def test_deleted_user_is_still_counted(app: Flask, new_gpu: NewGpu, admin: Client, sign_in: SignIn) -> None:
    leaver = sign_in()
    hold(app, new_gpu(), leaver.user, 0, 24)
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    (group,) = utilization(admin, by="user")["groups"]
    assert (group["id"], group["name"], group["held_hours"]) == (None, leaver.user.username, 24)


def test_retired_gpu_exists_only_while_it_was_held(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    hold(app, new_gpu(status="retired", model="K80"), user.user, 0, 12)
    new_gpu(status="retired", model="K80")
    new_gpu(status="maintenance", model="H100")
    groups = {group["name"]: amounts(group) for group in utilization(user)["groups"]}
    assert groups == {"K80": (12, 12, 1), "H100": (0, 48, 0)}


def test_active_assignment_counts_until_now(app: Flask, make: Make, user: Client) -> None:
    gpu = make(Gpu, status="available")
    user.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": user.user.id})
    now = utcnow()
    query = {"from": (now - HOUR).isoformat(), "to": (now + 24 * HOUR).isoformat()}
    report = user.call("GET", "/api/gpus/utilization", query_string=query)["data"]
    assert datetime.fromisoformat(report["to"]) <= utcnow()
    assert report["total"]["held_hours"] <= report["total"]["existing_hours"] <= 1


def test_what_lasts_counts_from_its_beginning(app: Flask, new_gpu: NewGpu, admin: Client, user: Client) -> None:
    for model, created, assigned in (("A100", -9, -3), ("H100", 12, 36), ("H200", -9, 60)):
        held = {"status": "assigned", "assigned_to_id": user.user.id, "assigned_at": START + assigned * HOUR}
        hold(app, new_gpu(since=created, model=model, **held), user.user, assigned, None)
    new_gpu(since=60, model="B200")

    groups = {group["name"]: amounts(group) for group in utilization(admin)["groups"]}
    assert groups == {"A100": (48, 48, 1), "H100": (12, 36, 0.3333), "H200": (0, 48, 0)}
    by_user = utilization(admin, by="user")
    assert [(group["name"], amounts(group)) for group in by_user["groups"]] == [(user.user.username, (60, 132, 0.4545))]
    assert [amounts(group) for group in utilization(admin, by="datacenter")["groups"]] == [(60, 132, 0.4545)]


def test_without_gpus_utilization_is_null(user: Client) -> None:
    report = utilization(user)
    assert amounts(report["total"]) == (0, 0, None)
    assert report["groups"] == []


def test_default_period_is_thirty_days(new_gpu: NewGpu, user: Client) -> None:
    new_gpu()
    report = user.call("GET", "/api/gpus/utilization")["data"]
    begin, end = datetime.fromisoformat(report["from"]), datetime.fromisoformat(report["to"])
    assert timedelta(days=30) <= end - begin < timedelta(days=31)
    assert (begin.hour, begin.minute, begin.second) == (0, 0, 0)
    assert utcnow() - end < timedelta(minutes=2)
    assert len(report["total"]["buckets"]) == 31


def test_report_is_not_stale_after_a_change(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    gpu = new_gpu()
    assert utilization(user)["total"]["held_hours"] == 0
    hold(app, gpu, user.user, 0, 24)
    assert utilization(user)["total"]["held_hours"] == 24


def test_a_date_stands_for_the_whole_day(user: Client) -> None:
    report = user.call("GET", "/api/gpus/utilization?from=2026-03-02&to=2026-03-03")["data"]
    assert (report["from"], report["to"]) == ("2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z",
        "from=2999-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z&bucket=hour",
        "from=yesterday",
        "from=2026-03-02T00:00:00",
        "to=0001-01-01T00:00:00Z",
        "bucket=month",
        "by=server",
        "limit=0",
        "limit=101",
        "since=2026-03-02T00:00:00Z",
    ],
)
def test_invalid_queries_are_refused(user: Client, query: str) -> None:
    user.call("GET", f"/api/gpus/utilization?{query}", expect=400)


@pytest.mark.parametrize("by", ["model", "datacenter", "user"])
def test_number_of_statements_is_constant(
    app: Flask, new_gpu: NewGpu, admin: Client, user: Client, statements: Statements, by: str
) -> None:
    def count() -> int:
        with statements() as sent:
            utilization(admin, by=by)
        return len(sent)

    hold(app, new_gpu(), user.user, 0, 1)
    few = count()
    for number in range(5):
        hold(app, new_gpu(), admin.user, number, number + 1)
    assert count() == few
