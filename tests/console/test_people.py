"""People and the own account in the console: sessions, tokens, locks, deactivation, password."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from app.core.values import utcnow
from app.gpus.models import Gpu
from app.servers.models import Server
from app.users.models import User
from tests.backends import on_sqlite
from tests.client import PASSWORD, Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make

pytestmark = on_sqlite


def test_a_locked_person_is_found_and_unlocked(open_console: OpenConsole, admin: Client, make: Make) -> None:
    make(User, username="ann", locked_until=utcnow() + timedelta(days=1))
    make(User, username="bea")
    page = open_console("/people", user=admin.user)
    expect(page.get_by_role("button", name="bea")).to_be_visible()
    page.get_by_label("Locked accounts only").check()
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("button", name="bea")).to_have_count(0)
    page.get_by_role("button", name="ann").click()
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_text("ann can sign in again.")).to_be_visible()
    expect(page.get_by_text("Nobody matches.")).to_be_visible()


def test_deactivation_shows_the_gpus_first_and_hands_over(open_console: OpenConsole, admin: Client, make: Make) -> None:
    leaving, staying = make(User, username="leaving"), make(User, username="staying")
    owned = make(Server, created_by_id=leaving.id)
    gpu = make(Gpu, model="H100")
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": leaving.id, "purpose": "training"})
    page = open_console("/people", user=admin.user)
    page.get_by_role("button", name="leaving").click()
    page.get_by_role("button", name="Deactivate…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_contain_text("training")
    page.reload()
    dialog.get_by_label("Hand over what they own to").fill("stay")
    dialog.get_by_role("option", name="staying").click()
    dialog.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_text("leaving is deactivated.")).to_be_visible()
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"]["status"] == "available"
    assert not admin.call("GET", f"/api/users/{leaving.id}")["data"]["is_active"]
    assert admin.call("GET", f"/api/servers/{owned.id}")["data"]["created_by"]["id"] == staying.id


def test_a_token_is_shown_once_and_can_be_revoked(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/account", user=admin.user)
    page.get_by_label("Name of a new token").fill("backup script")
    page.get_by_label("Phone").fill("+49 30 1234")
    page.get_by_label("Current password").fill("typed, but not kept")
    page.reload()
    expect(page.get_by_label("Phone")).to_have_value("+49 30 1234")
    expect(page.get_by_label("Current password")).to_have_value("")
    page.get_by_role("button", name="Create a token").click()
    shown = page.get_by_role("status").filter(has_text="cannot be shown again")
    token = shown.locator("code").inner_text()
    assert page.request.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}).ok
    page.get_by_role("row").filter(has_text="backup script").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row").filter(has_text="backup script")).to_contain_text("revoked")
    assert page.request.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}).status == 401


def test_a_changed_password_ends_the_other_sessions(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/account", user=admin.user)
    expect(page.get_by_role("button", name="End", exact=True)).to_have_count(2)
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("another long password")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("button", name="End", exact=True)).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="this one")).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 390)])
def test_people_and_account_are_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, theme: str, width: int
) -> None:
    page = open_console("/people", user=admin.user, language="zh", theme=theme, width=width)
    page.get_by_role("button", name=admin.user.username).click()
    expect(page.get_by_role("heading", name="个人访问令牌")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    page.goto("/account")
    expect(page.get_by_role("heading", name="我的操作")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
