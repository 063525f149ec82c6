"""Assigning, extending and releasing several GPUs in one request: all of them, or none."""

from datetime import timedelta
from functools import partial

import pytest

from app.core.values import utcnow
from app.gpus.models import Gpu, GpuStatus
from app.servers.models import Server, ServerStatus
from tests.client import Body, Client
from tests.factories import Make
from tests.threads import run_concurrently

NEXT_WEEK = (utcnow() + timedelta(days=7)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def gpus(make: Make) -> list[int]:
    """Four H100 on one server."""
    server = make(Server, name="gpu-01")
    return [make(Gpu, model="H100", server_id=server.id, slot=slot).id for slot in range(4)]


def act(client: Client, action: str, gpu_ids: list[int], expect: int = 200, query: str = "", **body: object) -> Body:
    sent = {"gpu_ids": gpu_ids, **body}
    data: Body = client.call("POST", f"/api/gpus/{action}{query}", json=sent, expect=expect)["data"]
    return data


def assign(client: Client, gpu_ids: list[int], expect: int = 200, **more: object) -> Body:
    return act(client, "assign", gpu_ids, expect, **{"user_id": client.user.id, **more})


def held(client: Client) -> dict[int, str]:
    """The holders of the GPUs that are assigned."""
    data = client.call("GET", "/api/gpus", query_string={"status": "assigned"})["data"]
    return {gpu["id"]: gpu["assigned_to"]["name"] for gpu in data}


def actions(admin: Client, gpu_ids: list[int]) -> list[tuple[str, int]]:
    query = {"resource_type": "gpus", "sort": "id", "action": ["assign", "extend", "release"]}
    records = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return [(each["action"], each["resource_id"]) for each in records if each["resource_id"] in gpu_ids]


def test_all_are_assigned_extended_and_released(admin: Client, user: Client, gpus: list[int]) -> None:
    data = assign(user, gpus[::-1], purpose="training", expires_at=NEXT_WEEK)
    assert [result["id"] for result in data["results"]] == gpus[::-1], "In the order of the request."
    assert data["counts"]["ok"] == 4
    for result in data["results"]:
        gpu = admin.call("GET", f"/api/gpus/{result['id']}")["data"]
        assert (result["status"], result["data"], result["error"]) == ("ok", gpu, None)
        assert (gpu["assigned_to_id"], gpu["purpose"], gpu["expires_at"]) == (user.user.id, "training", NEXT_WEEK)
    ends = {result["data"]["expires_at"] for result in act(user, "extend", gpus[:3], expires_at=None)["results"]}
    assert ends == {None}
    act(user, "release", gpus[:2])
    assert held(user) == dict.fromkeys(gpus[2:], user.user.username)
    expected = [("assign", each) for each in gpus] + [("extend", each) for each in gpus[:3]]
    assert actions(admin, gpus) == [*expected, *(("release", each) for each in gpus[:2])]


def test_one_that_is_held_keeps_all_free_and_is_named(
    admin: Client, user: Client, other: Client, gpus: list[int]
) -> None:
    assign(other, gpus[2:3])
    data = assign(user, [*gpus, 999_999], expect=409)
    assert (data["reason"], [result["id"] for result in data["results"]]) == ("bulk_failed", [*gpus, 999_999])
    statuses = [result["status"] for result in data["results"]]
    assert [status for status in statuses if status in ("conflict", "not_found")] == ["conflict", "not_found"]
    error = data["results"][2]["error"]
    assert error["data"]["reason"] == "gpu_not_available"
    assert error["data"]["holder"] == {"id": other.user.id, "name": other.user.username}
    assert held(user) == {gpus[2]: other.user.username}
    assert actions(admin, gpus) == [("assign", gpus[2])]


def test_all_that_is_wrong_is_said_at_once(user: Client, make: Make, gpus: list[int]) -> None:
    offline = make(Gpu, server_id=make(Server, status=ServerStatus.OFFLINE).id).id
    broken = make(Gpu, status=GpuStatus.MAINTENANCE).id
    data = assign(user, [offline, gpus[0], gpus[0], broken], expect=409)
    reasons = [result["error"]["data"]["reason"] for result in data["results"]]
    assert reasons == ["gpu_not_available", "not_applied", "invalid", "gpu_not_available"]
    assert held(user) == {}


def test_what_is_wrong_with_any_gpu_is_an_error_of_the_request(user: Client, other: Client, gpus: list[int]) -> None:
    past = (utcnow() - timedelta(days=1)).isoformat()
    assert list(assign(user, gpus, expect=422, expires_at=past)["errors"]) == ["expires_at"]
    assert list(act(user, "extend", gpus, expect=422, expires_at=past)["errors"]) == ["expires_at"]
    assert assign(user, gpus, expect=403, user_id=other.user.id)["reason"] == "not_yourself"
    assert list(assign(user, [], expect=422)["errors"]) == ["gpu_ids"]
    assert list(assign(user, list(range(1, 102)), expect=422)["errors"]) == ["gpu_ids"]


def test_only_holders_and_administrators_give_back_all(
    admin: Client, user: Client, other: Client, gpus: list[int]
) -> None:
    assign(user, gpus[:2])
    assign(other, gpus[2:])
    for action, more in (("release", {}), ("extend", {"expires_at": NEXT_WEEK})):
        data = act(user, action, gpus, expect=403, **more)
        assert [result["status"] for result in data["results"]][2:] == ["forbidden", "forbidden"]
    assert len(held(user)) == 4
    act(admin, "release", gpus)
    assert held(user) == {}


def test_a_dry_run_takes_nothing(user: Client, gpus: list[int]) -> None:
    data = act(user, "assign", gpus, query="?dry_run=true", user_id=user.user.id)
    assert {result["data"]["status"] for result in data["results"]} == {"assigned"}
    assert held(user) == {}


def test_a_repeated_request_takes_once(user: Client, gpus: list[int]) -> None:
    body, key = {"gpu_ids": gpus, "user_id": user.user.id}, {"Idempotency-Key": "take-four"}
    first, second = (user.call("POST", "/api/gpus/assign", json=body, headers=key) for _ in range(2))
    assert first == second


def test_of_two_who_want_some_of_the_same_one_gets_all(user: Client, other: Client, gpus: list[int]) -> None:
    mine, theirs = gpus[:3], gpus[:0:-1]  # in opposite order; two of them are the same
    for _ in range(10):
        calls = [
            partial(client.call, "POST", "/api/gpus/assign", json=body, expect=(200, 409))
            for client, body in (
                (user, {"gpu_ids": mine, "user_id": user.user.id}),
                (other, {"gpu_ids": theirs, "user_id": other.user.id}),
            )
        ]
        answers = run_concurrently(calls)
        assert sorted(answer["code"] for answer in answers) == [0, 409]
        winner, taken = (user, mine) if answers[0]["code"] == 0 else (other, theirs)
        assert held(user) == dict.fromkeys(sorted(taken), winner.user.username)
        [refused] = [answer for answer in answers if answer["code"] == 409]
        conflicts = [result for result in refused["data"]["results"] if result["status"] == "conflict"]
        assert {result["error"]["data"]["holder"]["id"] for result in conflicts} == {winner.user.id}
        act(winner, "release", taken)
