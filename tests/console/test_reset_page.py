"""The page of a password reset link in a real browser, which posts its form with `Origin: null`."""

import pytest
from flask import Flask
from playwright.sync_api import Request, expect

from app.core.http.access import Role
from app.users.models import User
from tests.backends import on_sqlite
from tests.client import Client
from tests.conftest import SignIn
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make
from tests.features.auth.test_accounts import NEW, log_in, reset_token

pytestmark = on_sqlite


@pytest.mark.parametrize("is_signed_in", [False, True])
def test_a_new_password_is_set(
    app: Flask, open_console: OpenConsole, admin: Client, anonymous: Client, make: Make, is_signed_in: bool
) -> None:
    """Also in a browser that holds the session cookies of somebody."""
    forgetful = make(User)
    admin.call("POST", f"/api/users/{forgetful.id}/reset-password", expect=202)
    page = open_console(f"/reset-password?token={reset_token(app)}", user=admin.user if is_signed_in else None)
    posted: list[Request] = []
    page.on("request", lambda request: posted.append(request) if request.method == "POST" else None)
    expect(page.get_by_text(forgetful.username)).to_be_visible()
    assert_accessible(page)
    for password, repeated, shown in (
        (NEW, "something else", "The two passwords differ."),
        ("password123", "password123", "May not be a well-known password."),
        (NEW, NEW, "Your new password is set"),
    ):
        page.get_by_label("New password").fill(password)
        page.get_by_label("The same again").fill(repeated)
        page.get_by_role("button").click()
        expect(page.get_by_text(shown)).to_be_visible()
        assert_accessible(page)
    assert [request.all_headers()["origin"] for request in posted] == ["null"] * 3
    log_in(anonymous, forgetful, NEW)


def test_a_link_that_was_used_says_so_in_the_language_of_the_browser(
    app: Flask, open_console: OpenConsole, admin: Client, anonymous: Client, sign_in: SignIn
) -> None:
    user = sign_in(role=Role.USER)
    admin.call("POST", f"/api/users/{user.user.id}/reset-password", expect=202)
    token = reset_token(app)
    page = open_console(f"/reset-password?token={token}", language="zh")
    expect(page.get_by_role("heading", name="设置新密码")).to_be_visible()
    anonymous.call("POST", "/api/auth/reset-password", json={"token": token, "new_password": NEW})
    page.get_by_label("新密码", exact=True).fill(NEW)
    page.get_by_label("再次输入新密码").fill(NEW)
    page.get_by_role("button").click()
    expect(page.get_by_text("此链接已失效")).to_be_visible()
