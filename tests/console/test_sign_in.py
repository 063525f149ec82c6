"""The screens before the sign-in: a forgotten password with a mail that is really sent, and registration."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from app.users.models import User
from tests.backends import on_sqlite
from tests.client import PASSWORD, Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_audit import expect_no_sideways_scroll
from tests.factories import Make
from tests.features.auth.smtp_servers import Inbox
from tests.features.auth.smtp_servers import server as smtp_server
from tests.features.auth.test_accounts import log_in, reset_token
from tests.threads import wait_until

pytestmark = on_sqlite

NEW = "another long password"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def server_environ(inbox: Inbox) -> Iterator[dict[str, str]]:
    with smtp_server(inbox) as port:
        yield {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(port), "REGISTRATION_ENABLED": "true"}


def link_of_mail(inbox: Inbox) -> str:
    """The address in the latest mail."""
    wait_until(lambda: bool(inbox.received))
    text = next(part for part in inbox.received[-1].walk() if part.get_content_type() == "text/plain")
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    return re.findall(r"http://\S+/reset-password#token=\S+", content.decode())[0]


def is_at_home(page: Page, heading: str = "Home") -> None:
    expect(page.get_by_role("heading", name=heading)).to_be_visible()


def test_a_forgotten_password_is_set_by_a_mailed_link_by_keyboard_alone(
    open_console: OpenConsole, inbox: Inbox, make: Make, refusals: set[int]
) -> None:
    refusals.add(422)  # a well-known password
    user = make(User)
    page = open_console("/servers")
    page.get_by_role("link", name="Forgotten your password?").press("Enter")
    expect(page.get_by_label("Username or e-mail address")).to_be_focused()
    assert_accessible(page)
    page.keyboard.type(user.email)
    page.keyboard.press("Enter")
    expect(page.get_by_text("If there is such an account")).to_be_visible()
    assert_accessible(page)

    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("about:blank")
    page.goto(link_of_mail(inbox))
    expect(page.get_by_text(f"For the account {user.username}")).to_be_visible()
    assert_accessible(page)
    first = page.get_by_label("New password")
    first.focus()
    for password, repeated, shown in (
        (NEW, "something else", "The two passwords differ."),
        ("password123", "password123", "May not be a well-known password."),
        (NEW, NEW, "Your new password is set"),
    ):
        first.fill("")
        page.get_by_label("The same again").fill("")
        first.focus()
        page.keyboard.type(password)
        page.keyboard.press("Tab")
        page.keyboard.type(repeated)
        page.keyboard.press("Enter")
        expect(page.get_by_text(shown)).to_be_visible()
        assert_accessible(page)
    # Neither a log of a server nor the history of the browser has the token.
    assert all("token=" not in url.partition("#")[0] for url in requested)
    assert "token" not in page.url
    page.get_by_role("link", name="To sign in").press("Enter")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(NEW)
    page.get_by_role("button", name="Sign in").press("Enter")
    is_at_home(page)


def test_the_link_of_an_administrator_in_a_browser_where_somebody_is_signed_in(
    app: Flask, open_console: OpenConsole, admin: Client, anonymous: Client, make: Make
) -> None:
    forgetful = make(User)
    admin.call("POST", f"/api/users/{forgetful.id}/reset-password", expect=202)
    page = open_console(f"/reset-password#token={reset_token(app)}", user=admin.user)
    page.get_by_label("New password").fill(NEW)
    page.get_by_label("The same again").fill(NEW)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("Your new password is set")).to_be_visible()
    log_in(anonymous, forgetful, NEW)
    page.goto("/")
    is_at_home(page)


def test_a_link_that_was_used_leads_to_a_new_one_in_chinese(
    app: Flask,
    open_console: OpenConsole,
    admin: Client,
    anonymous: Client,
    inbox: Inbox,
    make: Make,
    refusals: set[int],
) -> None:
    refusals.add(422)
    user = make(User)
    admin.call("POST", f"/api/users/{user.id}/reset-password", expect=202)
    token = reset_token(app)
    anonymous.call("POST", "/api/auth/reset-password", json={"token": token, "new_password": NEW})
    page = open_console(f"/reset-password#token={token}", language="zh", theme="dark", width=390)
    expect(page.get_by_role("alert")).to_contain_text("该链接已失效")
    assert_accessible(page)
    page.goto("/reset-password")
    expect(page.get_by_role("alert")).to_contain_text("地址不完整")
    page.get_by_role("link", name="重新索取链接").click()
    page.get_by_label("用户名或邮箱地址").fill("nobody")
    expect_no_sideways_scroll(page)
    page.get_by_role("button", name="发送链接").click()
    # An unknown name is answered like any other.
    expect(page.get_by_text("如果该账户存在")).to_be_visible()


def test_somebody_registers(open_console: OpenConsole, make: Make, refusals: set[int]) -> None:
    refusals.update({409, 422})  # a taken name, a short password
    taken = make(User)
    page = open_console("/")
    page.get_by_role("link", name="Create an account").click()
    expect(page.get_by_label("Username")).to_be_focused()
    page.get_by_label("Username").fill(taken.username)
    page.get_by_label("E-mail address").fill("newcomer@example.com")
    page.get_by_label("Full name").fill("New Comer")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("The same again").fill("short")
    submit = page.get_by_role("button", name="Create the account")
    submit.click()
    expect(page.get_by_text("Must have at least 10 characters.")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    submit.click()
    expect(page.get_by_role("alert")).to_contain_text("taken")
    assert_accessible(page)
    page.get_by_label("Username").fill("newcomer")
    submit.click()
    is_at_home(page)
    assert page.request.get("/api/auth/me").json()["data"]["full_name"] == "New Comer"
    # Who is signed in has no use for the screen.
    page.goto("/register")
    is_at_home(page)


@pytest.mark.parametrize("server_environ", [{}])
def test_what_the_installation_does_not_allow_is_not_offered(
    open_console: OpenConsole, server_environ: dict[str, str]
) -> None:
    page = open_console("/", language="zh")
    page.get_by_role("link", name="忘记密码？").click()
    expect(page.get_by_text("本系统不发送邮件。")).to_be_visible()
    page.get_by_role("link", name="去登录").click()
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    expect(page.get_by_role("link", name="注册账户")).to_have_count(0)
    page.goto("/register")
    expect(page.get_by_text("注册已关闭")).to_be_visible()
