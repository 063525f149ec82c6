"""The GPU board in the console: to take, extend and release GPUs."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuStatus
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make

pytestmark = on_sqlite


@pytest.fixture
def cluster(make: Make) -> Server:
    """Eight H100 on one server in Shanghai, one of them in maintenance, and one A100 elsewhere."""
    shanghai = make(Datacenter, name="Shanghai")
    server: Server = make(Server, name="gpu-01", datacenter_id=shanghai.id)
    for slot in range(8):
        make(
            Gpu,
            model="H100",
            server_id=server.id,
            slot=slot,
            status=GpuStatus.MAINTENANCE if slot == 7 else GpuStatus.AVAILABLE,
        )
    make(Gpu, model="A100", server_id=make(Server, name="old-01").id, slot=0)
    return server


def test_four_on_one_server_are_taken_extended_and_released(
    open_console: OpenConsole, admin: Client, cluster: Server
) -> None:
    page = open_console("/gpu-board", user=admin.user)
    page.get_by_label("How many").fill("4")
    page.get_by_label("Model", exact=True).first.fill("H100")
    page.get_by_label("Until the end of").fill((utcnow() + timedelta(days=7)).date().isoformat())
    page.get_by_label("Purpose").fill("训练")
    page.reload()
    expect(page.get_by_label("Purpose")).to_have_value("训练")
    page.get_by_role("button", name="Find").press("Enter")
    page.get_by_role("button", name="Take these 4").press("Enter")
    expect(page.get_by_text("4 × H100 on gpu-01 are yours.")).to_be_visible()
    held = admin.call("GET", "/api/gpus", query_string={"status": "assigned"})["data"]
    assert [(gpu["slot"], gpu["purpose"], gpu["assigned_to_id"]) for gpu in held] == [
        (slot, "训练", admin.user.id) for slot in range(4)
    ]
    page.get_by_label("Mine only").check()
    page.get_by_role("button", name="Slot 2, H100, assigned").click()
    page.get_by_role("article").get_by_label("Until the end of").fill(
        (utcnow() + timedelta(days=30)).date().isoformat()
    )
    page.get_by_role("button", name="Extend").click()
    expect(page.get_by_text("Extended until")).to_be_visible()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("button", name="Slot 2, H100")).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Slot 1, H100, assigned").click()
    page.get_by_label("with the other 2 of").check()
    assert_accessible(page)
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("3 × H100 on gpu-01 (slots 0, 1, 3) are released.")).to_be_visible()
    assert page.request.get("/api/gpus?status=assigned").json()["data"] == []


def test_gpus_of_several_servers_are_taken_together(open_console: OpenConsole, admin: Client, cluster: Server) -> None:
    page = open_console("/gpu-board", user=admin.user)
    page.get_by_label("How many").fill("8")
    page.get_by_label("on one server").uncheck()
    page.get_by_role("button", name="Find").click()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(f"{request.method} {request.url.rpartition('/api')[2]}"))
    page.get_by_role("button", name="Take all 8").click()
    expect(page.get_by_text("are yours.")).to_be_visible()
    assert requested.count("POST /gpus/assign") == 1
    assert admin.call("GET", "/api/gpus", query_string={"status": "assigned"})["pagination"]["total"] == 8
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Slot 3, H100, available")).to_be_visible()


def test_too_many_are_refused_with_what_there_is(open_console: OpenConsole, admin: Client, cluster: Server) -> None:
    page = open_console("/gpu-board", user=admin.user)
    page.get_by_label("How many").fill("8")
    page.get_by_label("Model", exact=True).first.fill("H100")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("7 are available, at most 7 of one model on one server")).to_be_visible()


def test_of_several_all_are_taken_or_none(
    open_console: OpenConsole, admin: Client, cluster: Server, refusals: set[int]
) -> None:
    refusals.add(409)
    page = open_console("/gpu-board", user=admin.user)
    page.get_by_label("How many").fill("2")
    page.get_by_label("Model", exact=True).first.fill("H100")
    page.get_by_role("button", name="Find").click()
    take = page.get_by_role("button", name="Take these 2")
    expect(take).to_be_visible()
    # Somebody else is faster with the second one.
    second = admin.call("GET", "/api/gpus", query_string={"slot": 1})["data"][0]
    admin.call("POST", f"/api/gpus/{second['id']}/assign", json={"user_id": admin.user.id})
    take.click()
    expect(page.get_by_text(f"gpu-01, slot 1: {admin.user.username} holds this GPU.")).to_be_visible()
    assert admin.call("GET", "/api/gpus", query_string={"status": "assigned"})["pagination"]["total"] == 1


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_board_is_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, cluster: Server, theme: str, width: int
) -> None:
    page = open_console("/gpu-board", user=admin.user, language="zh", theme=theme, width=width)
    page.get_by_role("button", name="插槽 0, H100").click()
    expect(page.get_by_role("region", name="Shanghai")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)


def test_one_slot_is_taken_from_the_board_and_given_back(
    open_console: OpenConsole, admin: Client, cluster: Server
) -> None:
    page = open_console("/gpu-board", user=admin.user)
    page.get_by_role("button", name="Slot 3, H100, available").click()
    page.get_by_role("button", name="Take it").click()
    expect(page.get_by_text("1 × H100 on gpu-01 is yours.")).to_be_visible()
    expect(page.get_by_role("button", name="Slot 3, H100, assigned")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Slot 3, H100, available")).to_be_visible()
