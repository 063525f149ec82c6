"""The page of a password reset link: what somebody sees who follows it, with no script and nothing from elsewhere."""

import base64
import hashlib
import html
import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.accounts.models import PasswordReset
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.factories import Make
from tests.features.auth.test_accounts import log_in, reset_token

NEW = "another long password"


@pytest.fixture
def ada(make: Make) -> User:
    return make(User, username="ada.lovelace")


@pytest.fixture
def token(admin: Client, ada: User, app: Flask) -> str:
    admin.call("POST", f"/api/users/{ada.id}/reset-password", expect=202)
    return reset_token(app)


def follow(app: Flask, token: str, language: str = "en") -> TestResponse:
    query = {"token": token}
    return app.test_client().get("/reset-password", query_string=query, headers={"Accept-Language": language})


def submit(app: Flask, token: str, password: str, repeated: str | None = None, language: str = "en") -> TestResponse:
    form = {"token": token, "username": "x", "new_password": password}
    form["repeated"] = password if repeated is None else repeated
    return app.test_client().post("/reset-password", data=form, headers={"Accept-Language": language})


def words(page: TestResponse) -> str:
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.text, flags=re.DOTALL))


def password_changes(app: Flask) -> Any:
    log = AuditLog.__table__
    with app.app_context():
        return db.session.execute(sa.select(log).where(log.c.action == "password_change")).all()


def test_the_link_of_the_mail_leads_to_a_form_that_sets_the_password(
    app: Flask, token: str, ada: User, anonymous: Client
) -> None:
    page = follow(app, token)
    assert (page.status_code, page.mimetype, page.headers["Content-Language"]) == (200, "text/html", "en")
    assert "ada.lovelace" in words(page)
    fields = re.findall(r'<input[^>]* name="(\w+)"', page.text)
    assert fields == ["token", "username", "new_password", "repeated"]
    assert re.search(r'<form method="post" action="reset-password">', page.text)
    done = submit(app, token, NEW)
    assert (done.status_code, "Your new password is set" in words(done)) == (200, True)
    log_in(anonymous, ada, PASSWORD, 401)
    log_in(anonymous, ada, NEW)
    (changed,) = password_changes(app)
    assert (changed.user_id, changed.changes) == (ada.id, {"password_hash": {"old": None, "new": "changed"}})


def test_nothing_of_the_link_is_kept_or_passed_on(app: Flask, token: str) -> None:
    for page in (follow(app, token), submit(app, token, "short"), follow(app, "none"), submit(app, token, NEW)):
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = page.headers["Content-Security-Policy"].split("; ")
        assert policy == [
            *("default-src 'none'", f"style-src 'sha256-{digest}'", "form-action 'self'", "base-uri 'none'"),
            "frame-ancestors 'none'",
        ]
        assert not re.search(r"<script|<link|<img|\bstyle=|\bon\w+=|https?://|url\(", page.text)


@pytest.mark.parametrize("language", ["en", "zh-CN,zh;q=0.9,en;q=0.5"])
def test_rules_of_passwords_are_shown_where_they_are_broken(app: Flask, token: str, language: str) -> None:
    english = {
        "short": "Must have at least 10 characters.",
        "x" + "长" * 24: "May have at most 72 bytes.",
        "1234567890": "May not be a well-known password.",
        "nul \0 in a password": "May not contain the NUL character.",
    }
    chinese = ("至少需要 10 个字符。", "最多 72 个字节。", "不能是常见密码。", "不能包含空字符。")
    said = english.values() if language == "en" else chinese
    for password, sentence in zip(english, said, strict=True):
        page = submit(app, token, password, language=language)
        assert (page.status_code, sentence in words(page)) == (422, True), words(page)
        assert password not in page.text
        assert f'value="{token}"' in page.text
        assert 'aria-invalid="true"' in page.text
    differ = submit(app, token, NEW, "another", language=language)
    assert (differ.status_code, "differ" in words(differ) or "不一致" in words(differ)) == (422, True)
    assert submit(app, token, NEW, language=language).status_code == 200


def test_the_username_is_no_password(admin: Client, make: Make, app: Flask) -> None:
    user = make(User, username="grace.hopper")
    admin.call("POST", f"/api/users/{user.id}/reset-password", expect=202)
    token = reset_token(app)
    assert "May not be the username." in words(submit(app, token, "Grace.Hopper"))
    assert "不能与用户名相同。" in words(submit(app, token, "Grace.Hopper", language="zh"))


@pytest.mark.parametrize("cause", ["used", "expired", "replaced", "inactive", "unknown", "missing"])
def test_a_link_that_opens_nothing_says_how_to_get_another(
    app: Flask, token: str, ada: User, admin: Client, cause: str
) -> None:
    if cause == "used":
        submit(app, token, NEW)
    elif cause == "expired":
        with app.app_context():
            late = sa.update(PasswordReset.__table__).values(expires_at=utcnow() - timedelta(seconds=1))
            db.session.execute(late)
            db.session.commit()
    elif cause == "replaced":
        admin.call("POST", f"/api/users/{ada.id}/reset-password", expect=202)
    elif cause == "inactive":
        admin.call("PATCH", f"/api/users/{ada.id}", json={"is_active": False})
    else:
        token = {"unknown": "x" * 43, "missing": ""}[cause]
    for page in (follow(app, token), submit(app, token, "a third long password")):
        assert (page.status_code, "<form" in page.text) == (410, False)
        assert "Please ask an administrator for a new one." in words(page)
        assert ada.username not in words(page)
    assert "请联系管理员" in words(follow(app, token, "zh-TW"))
    assert follow(app, token, "fr").headers["Content-Language"] == "en"


def test_opening_the_link_changes_nothing(app: Flask, token: str) -> None:
    for _ in range(3):
        assert follow(app, token).status_code == 200
    assert submit(app, token, NEW).status_code == 200
