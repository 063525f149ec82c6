"""The command palette: objects by any of their words, screens and actions, by keyboard."""

import pytest
from playwright.sync_api import expect

from app.containers.models import Container
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make

pytestmark = on_sqlite


def test_an_object_is_found_by_its_address_and_opened(open_console: OpenConsole, admin: Client, make: Make) -> None:
    make(Server, name="db-7", internal_ip="10.9.8.7")
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("10.9.8.7")
    expect(page.get_by_role("option", name="db-7")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="db-7")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_screens_and_actions_are_found_too(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/", user=admin.user)
    page.get_by_role("button", name="Go to…").click()
    page.get_by_role("combobox").fill("new serv")
    page.get_by_role("option", name="New server", exact=False).first.click()
    expect(page.get_by_role("heading", name="New server")).to_be_visible()


def test_what_can_be_done_with_an_object_is_done_by_keyboard(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    server = make(Server, name="db-7", mac_address="aa:bb:cc:00:11:22")
    make(Container, name="postgres", server_id=server.id)
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("AABB.CC00.1122")
    expect(page.get_by_role("option").first).to_contain_text("db-7 MAC address aa:bb:cc:00:11:22")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("status").filter(has_text="With db-7")).to_be_visible()
    expect(page.get_by_role("option", name="New container below it")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("option").first).to_contain_text("db-7")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("option", name="Containers of it")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Containers")).to_be_visible()
    expect(page.get_by_role("link", name="postgres")).to_be_visible()


def test_a_list_that_is_left_asks_for_nothing_of_the_next_screen(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    """Its rows, by the conditions of the other screen, would be a request that the server refuses."""
    make(Server, name="db-7")
    page = open_console("/servers?status=active", user=admin.user)
    expect(page.get_by_role("heading", name="Servers")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("db-7")
    expect(page.get_by_role("option").first).to_contain_text("db-7")
    page.keyboard.press("ArrowRight")
    page.get_by_role("option", name="What the audit log says of it").click()
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Status is Active")).to_be_visible()


def test_a_screen_whose_name_is_typed_comes_before_objects(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    make(Server, name="gpu-b-1")
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("gpu b")
    expect(page.get_by_role("option", name="gpu-b-1")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="GPU board")).to_be_visible()


def test_a_question_to_the_audit_log_is_found(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/", user=admin.user)
    page.get_by_role("button", name="Go to…").click()
    page.get_by_role("combobox").fill("out of service")
    page.get_by_role("option", name="Audit log: Servers taken out of service").click()
    expect(page.get_by_role("button", name="Servers taken out of service")).to_have_attribute("aria-pressed", "true")


def test_what_was_opened_last_comes_first_and_no_name_is_kept(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    first, second = make(Server, name="db-7"), make(Server, name="web-3")
    page = open_console(f"/servers/{first.id}", user=admin.user)
    expect(page.get_by_role("heading", name="db-7")).to_be_visible()
    page.goto(f"/servers/{second.id}")
    expect(page.get_by_role("heading", name="web-3")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").nth(0)).to_contain_text("web-3")
    expect(page.get_by_role("option").nth(1)).to_contain_text("db-7")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="db-7")).to_be_visible()
    page.get_by_role("button", name="Edit Owner").click()
    page.locator("dd form input").fill("ann of db-7")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    stored = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert "itam.recent" in stored
    assert "db-7" not in stored


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_palette_is_accessible(open_console: OpenConsole, admin: Client, theme: str) -> None:
    page = open_console("/", user=admin.user, language="zh", theme=theme)
    page.get_by_role("button", name="转到…").click()
    expect(page.get_by_role("option", name="审计日志").first).to_be_visible()
    assert_accessible(page)
