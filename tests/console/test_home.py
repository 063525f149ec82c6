"""The home screen: an empty installation, and one with a sample estate."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.core.values import utcnow
from app.gpus.models import Gpu
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_imports import upload, workbook
from tests.factories import Make

pytestmark = on_sqlite


def test_an_empty_installation_shows_a_sample_estate_and_loses_it_again(
    open_console: OpenConsole, admin: Client
) -> None:
    page = open_console("/", user=admin.user)
    page.get_by_role("button", name="Look at a sample estate").click()
    expect(page.get_by_role("main").get_by_role("link", name="Servers 24")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Maintenance").first).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("button", name="Look at a sample estate")).to_be_visible()
    assert admin.call("GET", "/api/servers")["data"] == []


def test_home_shows_imports_under_way_and_gpus_that_expire(
    open_console: OpenConsole, admin: Client, make: Make, tmp_path: Path
) -> None:
    gpu = make(Gpu, server_id=make(Server, name="gpu-1").id, slot=3, model="H100")
    until = (utcnow() + timedelta(days=2)).isoformat()
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id, "expires_at": until})
    file = tmp_path / "waiting.xlsx"
    file.write_bytes(workbook(("Servers", [("Name",), ("web-1",)])))
    upload(admin, file)
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("link", name="H100 · gpu-1:3")).to_be_visible()
    expect(page.get_by_role("region", name="Imports under way")).to_contain_text("waiting.xlsx")
    changes = page.get_by_role("region", name="Changed last")
    expect(changes.get_by_role("listitem").filter(has_text="Assigned")).to_have_count(1)
    expect(changes).not_to_contain_text("Signed in")
    assert_accessible(page)
    page.get_by_role("link", name="waiting.xlsx").click()
    expect(page.get_by_role("heading", name="waiting.xlsx")).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1280)])
def test_home_is_accessible_in_chinese(open_console: OpenConsole, admin: Client, theme: str, width: int) -> None:
    page = open_console("/", user=admin.user, language="zh", theme=theme, width=width)
    expect(page.get_by_role("button", name="查看示例数据")).to_be_visible()
    assert_accessible(page)
    # Through the server itself: without Redis another process cannot tell it that its pages are old.
    created = page.request.post("/api/datacenters", data={"name": "SH-1"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert created.ok, created.text()
    page.reload()
    expect(page.get_by_role("heading", name="最近变更")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
