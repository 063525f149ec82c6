"""How much of the GPUs' time is used: GPU-hours held of GPU-hours that existed."""

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
    """A GPU that has existed since so many hours after the start."""

    def new_gpu(since: float = -1000, **fields: Any) -> Gpu:
        with monkeypatch.context() as then:
            then.setattr(recorder, "utcnow", lambda: START + since * HOUR)
            return make(Gpu, **{"status": "available", **fields})

    return new_gpu


def hold(app: Flask, gpu: Gpu, user: User, since: float, until: float | None) -> None:
    """Somebody held a GPU from so many hours after the start until so many, or still does."""
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


def measured(client: Client, since: float = 0, until: float = 48, **query: str | int) -> Body:
    times = {"from": at(since), "to": at(until)}
    data: Body = client.call("GET", "/api/gpus/utilization", query_string={**times, **query})["data"]
    return data


def amounts(of: Body) -> tuple[float, float, float | None]:
    return of["held_hours"], of["existing_hours"], of["utilization"]


def test_the_hours_of_each_day(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    held, _idle = new_gpu(model="H100"), new_gpu(since=36, model="H100")
    hold(app, held, user.user, -5, 6)
    hold(app, held, user.user, 18, 30)
    found = measured(user)
    assert (found["from"], found["to"]) == (at(0), at(48))
    assert amounts(found["total"]) == (18, 60, 0.3)
    first, second = found["total"]["buckets"]
    assert (first["from"], first["to"], amounts(first)) == (at(0), at(24), (12, 24, 0.5))
    assert (second["from"], second["to"], amounts(second)) == (at(24), at(48), (6, 36, 0.1667))
    (group,) = found["groups"]
    assert group == {"id": None, "name": "H100", **found["total"]}


def test_whatever_the_periods_are_the_hours_are_right(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    chance = random.Random(7)
    periods: list[tuple[float, float]] = []
    created: list[float] = []
    for _ in range(6):
        moment = chance.uniform(-20, 60)
        gpu = new_gpu(since=moment)
        created.append(moment)
        for _ in range(4):
            begin = moment + chance.uniform(0, 30)
            moment = begin + chance.uniform(0, 30)
            periods.append((begin, moment))
            hold(app, gpu, user.user, begin, moment)
    for bucket, width in (("hour", 1), ("day", 24), ("week", 168)):
        for since, until in ((0, 48), (-30, 100), (0.5, 50.25), (47.75, 48.25)):
            found = measured(user, since, until, bucket=bucket)["total"]["buckets"]
            begin = since
            for entry in found:
                end = min(begin + width, until)
                assert (entry["from"], entry["to"]) == (at(begin), at(end))
                held = sum(max(0, min(b, end) - max(a, begin)) for a, b in periods)
                there = sum(max(0, end - max(a, begin)) for a in created)
                assert entry["held_hours"] == pytest.approx(held, abs=0.002)
                assert entry["existing_hours"] == pytest.approx(there, abs=0.002)
                begin = end
            assert begin == until


def test_by_model_datacenter_and_user(app: Flask, make: Make, new_gpu: NewGpu, admin: Client, user: Client) -> None:
    place = make(Datacenter, name="SH-1")
    here, nowhere = make(Server, datacenter_id=place.id), make(Server, datacenter_id=None)
    hold(app, new_gpu(model="A100", server_id=here.id), user.user, 0, 12)
    hold(app, new_gpu(model="H100", server_id=nowhere.id), admin.user, 0, 24)
    new_gpu(model="H100", server_id=here.id)

    def groups(by: str) -> dict[tuple[int | None, str | None], Any]:
        return {(group["id"], group["name"]): amounts(group) for group in measured(admin, by=by)["groups"]}

    assert groups("model") == {(None, "H100"): (24, 96, 0.25), (None, "A100"): (12, 48, 0.25)}
    assert groups("datacenter") == {(None, None): (24, 48, 0.5), (place.id, "SH-1"): (12, 96, 0.125)}
    # The share that each takes of all that there is.
    assert groups("user") == {
        (admin.user.id, admin.user.username): (24, 144, 0.1667),
        (user.user.id, user.user.username): (12, 144, 0.0833),
    }
    for by in ("model", "datacenter", "user"):
        assert amounts(measured(admin, by=by)["total"]) == (36, 144, 0.25)
        assert [group["held_hours"] for group in measured(admin, by=by)["groups"]] == [24, 12]
        assert len(measured(admin, by=by, limit=1)["groups"]) == 1


def test_what_others_use_is_between_them_and_the_administrators(
    app: Flask, new_gpu: NewGpu, admin: Client, user: Client, other: Client
) -> None:
    hold(app, new_gpu(), other.user, 0, 24)
    assert [group["id"] for group in measured(admin, by="user")["groups"]] == [other.user.id]
    assert [group["id"] for group in measured(other, by="user")["groups"]] == [other.user.id]
    seen = measured(user, by="user")
    assert seen["groups"] == []
    assert amounts(seen["total"]) == (24, 48, 0.5)


def test_who_has_left_is_still_counted(app: Flask, new_gpu: NewGpu, admin: Client, sign_in: SignIn) -> None:
    leaver = sign_in()
    hold(app, new_gpu(), leaver.user, 0, 24)
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    (group,) = measured(admin, by="user")["groups"]
    assert (group["id"], group["name"], group["held_hours"]) == (None, leaver.user.username, 24)


def test_a_retired_gpu_exists_while_it_was_held(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    hold(app, new_gpu(status="retired", model="K80"), user.user, 0, 12)
    new_gpu(status="retired", model="K80")
    new_gpu(status="maintenance", model="H100")
    groups = {group["name"]: amounts(group) for group in measured(user)["groups"]}
    assert groups == {"K80": (12, 12, 1), "H100": (0, 48, 0)}


def test_what_is_held_now_counts_until_now(app: Flask, make: Make, user: Client) -> None:
    gpu = make(Gpu, status="available")
    user.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": user.user.id})
    now = utcnow()
    query = {"from": (now - HOUR).isoformat(), "to": (now + 24 * HOUR).isoformat()}
    found = user.call("GET", "/api/gpus/utilization", query_string=query)["data"]
    assert datetime.fromisoformat(found["to"]) <= utcnow()
    assert found["total"]["held_hours"] <= found["total"]["existing_hours"] <= 1


def test_nothing_existed(user: Client) -> None:
    found = measured(user)
    assert amounts(found["total"]) == (0, 0, None)
    assert found["groups"] == []


def test_the_last_thirty_days_are_meant_where_nothing_is_said(new_gpu: NewGpu, user: Client) -> None:
    new_gpu()
    found = user.call("GET", "/api/gpus/utilization")["data"]
    begin, end = datetime.fromisoformat(found["from"]), datetime.fromisoformat(found["to"])
    assert timedelta(days=30) <= end - begin < timedelta(days=31)
    assert (begin.hour, begin.minute, begin.second) == (0, 0, 0)
    assert utcnow() - end < timedelta(minutes=2)
    assert len(found["total"]["buckets"]) == 31


def test_a_release_is_seen_at_once(app: Flask, new_gpu: NewGpu, user: Client) -> None:
    gpu = new_gpu()
    assert measured(user)["total"]["held_hours"] == 0
    hold(app, gpu, user.user, 0, 24)
    assert measured(user)["total"]["held_hours"] == 24


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
def test_what_cannot_be_asked(user: Client, query: str) -> None:
    user.call("GET", f"/api/gpus/utilization?{query}", expect=400)


@pytest.mark.parametrize("by", ["model", "datacenter", "user"])
def test_the_number_of_statements_is_constant(
    app: Flask, new_gpu: NewGpu, admin: Client, user: Client, statements: Statements, by: str
) -> None:
    def count() -> int:
        with statements() as sent:
            measured(admin, by=by)
        return len(sent)

    hold(app, new_gpu(), user.user, 0, 1)
    few = count()
    for number in range(5):
        hold(app, new_gpu(), admin.user, number, number + 1)
    assert count() == few
