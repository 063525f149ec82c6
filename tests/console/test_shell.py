"""The frame of the console: signing in, the navigation, both languages, and a session that ends below a page."""

import pytest
from playwright.sync_api import Page, expect

from tests.backends import on_sqlite
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.console.conftest import OpenConsole, assert_accessible

pytestmark = on_sqlite


def sign_in(page: Page, username: str, password: str = PASSWORD) -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").press("Enter")


def test_a_person_signs_in_by_keyboard_and_stays_signed_in(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(admin.user.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert page.evaluate("document.cookie") == ""


def test_a_wrong_password_is_said_in_the_language_of_the_person(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/", language="zh")
    page.get_by_label("用户名").fill(admin.user.username)
    page.get_by_label("密码").fill("not the password")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).to_contain_text("密码")


def test_the_language_changes_without_a_reload(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("link", name="Servers").first).to_be_visible()
    page.evaluate("window.kept = true")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="首页")).to_be_visible()
    expect(page.get_by_role("link", name="服务器").first).to_be_visible()
    assert page.evaluate("window.kept")


def test_a_session_that_has_ended_is_continued_over_the_page(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.evaluate("window.kept = true")
    # Cookies that have expired.
    page.context.clear_cookies()
    page.get_by_role("button", name="Sign out").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your session has ended")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    # The request that met the ended session goes on: here it signs out.
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_an_unknown_address_says_so(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/no/such/page", user=admin.user)
    expect(page.get_by_role("main")).to_contain_text("There is no page at this address.")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_frame_is_accessible(open_console: OpenConsole, admin: Client, theme: str) -> None:
    page = open_console("/", theme=theme)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert_accessible(page)
    sign_in(page, admin.user.username)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert_accessible(page)


def test_pages_of_administrators_say_whom_they_are_for(open_console: OpenConsole, sign_in: SignIn) -> None:
    page = open_console("/", user=sign_in().user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    for address in ("/audit", "/proof", "/people"):
        page.goto(address)
        expect(page.get_by_role("main")).to_contain_text("Only administrators see this page.")
    page.goto("/datacenters/new")
    expect(page.get_by_role("main")).to_contain_text("Your role does not allow you to create these.")
    assert_accessible(page)
