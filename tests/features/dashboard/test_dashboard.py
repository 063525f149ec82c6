"""The dashboard: its numbers, who sees which of them, and caching."""

from datetime import timedelta
from typing import Any

import pytest

from app.assets.models import Asset, AssetStatus
from app.containers.models import Container
from app.core.audit import recorder
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.servers.models import Server, ServerStatus
from app.services.models import Service
from app.tasks.models import Task
from tests.client import PASSWORD, Body, Client
from tests.conftest import Statements
from tests.factories import Make

NOW = utcnow()
TODAY = NOW.date()


def overview(client: Client) -> Body:
    data: Body = client.call("GET", "/api/dashboard")["data"]
    return data


def present(counts: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}


def fill(make: Make) -> Any:
    place = make(Datacenter, name="SH-1")
    for status, kind, where in (
        ("active", "physical", place.id),
        ("active", "virtual", place.id),
        ("offline", "physical", None),
    ):
        server = make(Server, status=status, server_type=kind, datacenter_id=where)
    for slot, (model, status) in enumerate((("H100", "available"), ("H100", "maintenance"), ("A100", "available"))):
        make(Gpu, server_id=server.id, slot=slot, model=model, status=status)
    container = make(Container, server_id=server.id, status="running")
    make(Service, container_id=container.id, server_id=None, status="healthy", service_type="web")
    make(Asset, asset_type="laptop", status="in_use")
    make(Asset, asset_type="laptop", status="lost")
    return place


def test_totals_and_breakdowns(make: Make, user: Client) -> None:
    place = fill(make)
    page = overview(user)
    totals = {"datacenters": 1, "servers": 3, "containers": 1, "services": 1, "gpus": 3, "assets": 2}
    assert totals.items() <= page["totals"].items()
    assert page["servers"]["by_status"] == {"active": 2, "maintenance": 0, "offline": 1, "retired": 0}
    assert page["servers"]["by_type"] == {"physical": 2, "virtual": 1}
    assert page["servers"]["by_datacenter"] == [
        {"id": place.id, "name": "SH-1", "count": 2},
        {"id": None, "name": None, "count": 1},
    ]
    assert page["servers"]["by_environment"] == [{"id": None, "name": None, "count": 3}]
    assert present(page["containers"]["by_status"]) == {"running": 1}
    assert present(page["services"]["by_status"]) == {"healthy": 1}
    assert present(page["services"]["by_type"]) == {"web": 1}
    assert present(page["gpus"]["by_status"]) == {"available": 2, "maintenance": 1}
    models = [(entry["model"], entry["count"], present(entry["by_status"])) for entry in page["gpus"]["by_model"]]
    assert models == [("H100", 2, {"available": 1, "maintenance": 1}), ("A100", 1, {"available": 1})]
    assert present(page["assets"]["by_type"]) == {"laptop": 2}
    assert present(page["assets"]["by_status"]) == {"in_use": 1, "lost": 1}


def test_an_empty_platform_has_a_dashboard(user: Client) -> None:
    page = overview(user)
    assert present(page["totals"]) == {}
    assert page["warranties"] == {"within_30_days": 0, "within_90_days": 0, "next": []}


def test_expiring_warranties(make: Make, user: Client) -> None:
    def expires(model: Any, days: int, **fields: Any) -> Any:
        return make(model, warranty_expires=TODAY + timedelta(days=days), **fields)

    server, asset, later = expires(Server, 20), expires(Asset, 10), expires(Server, 80)
    expires(Server, -1)
    expires(Server, 91)
    expires(Server, 5, status=ServerStatus.RETIRED)
    expires(Asset, 5, status=AssetStatus.LOST)
    page = overview(user)["warranties"]
    assert (page["within_30_days"], page["within_90_days"]) == (2, 3)
    assert [(item["type"], item["id"], item["name"]) for item in page["next"]] == [
        ("assets", asset.id, asset.name),
        ("servers", server.id, server.name),
        ("servers", later.id, later.name),
    ]
    assert page["next"][0]["warranty_expires"] == (TODAY + timedelta(days=10)).isoformat()


def test_my_gpus(make: Make, user: Client, other: Client) -> None:
    gpu = make(Gpu, status="available")
    user.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": user.user.id})
    assert (overview(user)["mine"]["gpus"], overview(other)["mine"]["gpus"]) == (1, 0)


def test_my_tasks(make: Make, user: Client, admin: Client) -> None:
    def task(title: str, due: int | None = None, client: Client = user, **fields: Any) -> None:
        day = None if due is None else TODAY + timedelta(days=due)
        make(Task, title=title, due_date=day, created_by_id=client.user.id, **{"is_completed": False, **fields})

    task("some day")
    task("late", -1)
    task("today", 0)
    task("done", -2, is_completed=True)
    task("of somebody else", -3, admin)
    mine = overview(user)["mine"]
    assert (mine["open_tasks"], mine["overdue_tasks"]) == (3, 1)
    assert [item["title"] for item in mine["next_tasks"]] == ["late", "today", "some day"]
    assert mine["next_tasks"][0]["due_date"] == (TODAY - timedelta(days=1)).isoformat()
    assert [item["title"] for item in overview(admin)["mine"]["next_tasks"]] == ["of somebody else"]


def test_only_administrators_see_users_and_changes(make: Make, admin: Client, user: Client) -> None:
    server = make(Server, name="changed")
    admin.call("PATCH", f"/api/servers/{server.id}", json={"rack": "R1"})
    page = overview(user)
    assert (page["recent_changes"], page["totals"]["users"]) == (None, None)
    page = overview(admin)
    assert page["totals"]["users"] == 2
    first = page["recent_changes"][0]
    assert (first["action"], first["resource_type"], first["resource_name"]) == ("update", "servers", "changed")
    assert first["username"] == admin.user.username
    assert len(page["recent_changes"]) <= 10
    # A sign-in is a record, and no change.
    admin.call("POST", "/api/auth/login", json={"username": admin.user.username, "password": PASSWORD})
    assert overview(admin)["recent_changes"] == page["recent_changes"]


def test_a_change_is_seen_at_once(make: Make, user: Client) -> None:
    assert overview(user)["totals"]["servers"] == 0
    make(Server)
    assert overview(user)["totals"]["servers"] == 1


def test_an_unchanged_dashboard_is_304(make: Make, user: Client) -> None:
    etag = user.send("GET", "/api/dashboard").headers["ETag"]
    again = user.send("GET", "/api/dashboard", headers={"If-None-Match": etag}, expect=304)
    assert again.data == b""
    make(Server)
    fresh = user.send("GET", "/api/dashboard", headers={"If-None-Match": etag})
    assert fresh.headers["ETag"] != etag


def test_the_number_of_statements_is_constant(make: Make, admin: Client, statements: Statements) -> None:
    def count() -> int:
        with statements() as sent:
            overview(admin)
        return len(sent)

    fill(make)
    few = count()
    for _ in range(5):
        make(Server, datacenter_id=make(Datacenter).id)
        make(Gpu)
        make(Asset)
        make(Service)
    # Neither users nor tasks have changed, so they are not counted again.
    assert count() == few - 2
    # The one of the session, and those of the audit log, which changes with everything.
    assert count() <= 4


def test_growth_counts_what_was_there_on_each_day(
    make: Make, admin: Client, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    def days_ago(number: int) -> None:
        monkeypatch.setattr(recorder, "utcnow", lambda: NOW - timedelta(days=number))

    days_ago(400)
    make(Server, name="old")
    days_ago(2)
    gone, back = make(Server, name="gone"), make(Server, name="back")
    days_ago(1)
    make(Server, name="new")
    for server in (gone, back):
        admin.call("DELETE", f"/api/servers/{server.id}")
    days_ago(0)
    deletion = admin.call("GET", f"/api/audit-logs?resource_type=servers&resource_id={back.id}&action=delete")["data"][
        0
    ]
    admin.call("POST", f"/api/audit-logs/{deletion['id']}/restore")
    make(Asset)
    with statements() as sent:
        answer = admin.call("GET", "/api/dashboard/growth?days=4")["data"]
    assert sum("UNION ALL" in statement or "deletion" in statement for statement in sent) == 2
    assert answer["days"] == [(TODAY + timedelta(days=number)).isoformat() for number in (-3, -2, -1, 0)]
    assert answer["series"]["servers"] == [1, 3, 3, 3]
    assert answer["series"]["assets"] == [0, 0, 0, 1]
    assert answer["series"]["gpus"] == [0, 0, 0, 0]
    assert admin.call("GET", "/api/dashboard/growth?days=1")["data"]["series"]["servers"] == [3]
    admin.call("GET", "/api/dashboard/growth?days=367", expect=400)
