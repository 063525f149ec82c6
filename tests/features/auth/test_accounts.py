"""Administration of other accounts: unlock, password reset links, sessions and tokens."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from app.accounts.models import PasswordReset
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.mail.outbox import Outbox, decrypt
from app.core.values import utcnow
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database

NEW = "another long password"


def reset_token(app: Flask) -> str:
    """The token in the link of the latest mail."""
    with app.app_context():
        content = db.session.scalars(sa.select(Outbox.content).order_by(Outbox.id.desc())).first()
        assert content is not None
        text = decrypt(content)["txt"]
    match = re.search(r"http://127\.0\.0\.1:5000/reset-password#token=(\S+)", text)
    assert match is not None
    return match[1]


def log_in(anonymous: Client, user: User, password: str, expect: int = 200) -> None:
    body = {"username": user.username, "password": password}
    anonymous.call("POST", "/api/auth/login", json=body, expect=expect)


def test_locked_account_is_unlocked(admin: Client, anonymous: Client, make: Make) -> None:
    user = make(User)
    for _ in range(5):
        log_in(anonymous, user, "wrong", 401)
    log_in(anonymous, user, PASSWORD, 401)
    admin.call("POST", f"/api/users/{user.id}/unlock")
    log_in(anonymous, user, PASSWORD)
    records = admin.call("GET", "/api/audit-logs", query_string={"action": "unlock"})["data"]
    assert [(record["user_id"], record["resource_id"]) for record in records] == [(admin.user.id, user.id)]


def test_link_sets_a_password_once(admin: Client, sign_in: SignIn, anonymous: Client, app: Flask) -> None:
    user = sign_in()
    admin.call("POST", f"/api/users/{user.user.id}/reset-password", expect=202)
    body = {"token": reset_token(app), "new_password": NEW}
    for weak in ("short", "password123", user.user.username):
        anonymous.call("POST", "/api/auth/reset-password", json={**body, "new_password": weak}, expect=422)
    user.call("GET", "/api/auth/me")
    for _ in range(5):
        log_in(anonymous, user.user, "wrong", 401)
    anonymous.call("POST", "/api/auth/reset-password", json=body)
    user.call("GET", "/api/auth/me", expect=401)
    log_in(anonymous, user.user, PASSWORD, 401)
    log_in(anonymous, user.user, NEW)
    again = anonymous.call("POST", "/api/auth/reset-password", json=body, expect=422)
    (refused,) = again["data"]["errors"]["token"]
    assert refused.startswith("This link is no longer valid")
    with app.app_context():
        log = AuditLog.__table__
        changed = db.session.execute(sa.select(log).where(log.c.action == "password_change")).one()
    assert (changed.user_id, changed.changes) == (user.user.id, {"password_hash": {"old": None, "new": "changed"}})


@pytest.mark.race
def test_concurrent_uses_of_a_link_succeed_once(admin: Client, anonymous: Client, make: Make, app: Flask) -> None:
    admin.call("POST", f"/api/users/{make(User).id}/reset-password", expect=202)
    body = {"token": reset_token(app), "new_password": NEW}
    send = lambda: anonymous.send("POST", "/api/auth/reset-password", json=body, expect=(200, 422))  # noqa: E731
    assert sorted(answer.status_code for answer in run_concurrently([send] * 5)) == [200, 422, 422, 422, 422]


@pytest.mark.parametrize("cause", ["expired", "replaced", "changed", "inactive"])
def test_link_is_invalidated(admin: Client, sign_in: SignIn, anonymous: Client, app: Flask, cause: str) -> None:
    user = sign_in()
    path = f"/api/users/{user.user.id}"
    admin.call("POST", f"{path}/reset-password", expect=202)
    body = {"token": reset_token(app), "new_password": NEW}
    if cause == "expired":
        with app.app_context():
            late = {"expires_at": utcnow() - timedelta(seconds=1)}
            db.session.execute(sa.update(PasswordReset.__table__).values(late))
            db.session.commit()
    elif cause == "replaced":
        admin.call("POST", f"{path}/reset-password", expect=202)
    elif cause == "changed":
        change = {"current_password": PASSWORD, "new_password": "a third long password"}
        user.call("POST", "/api/auth/change-password", json=change)
    else:
        admin.call("PATCH", path, json={"is_active": False})
        admin.call("POST", f"{path}/reset-password", expect=409)
    anonymous.call("POST", "/api/auth/reset-password", json=body, expect=422)


def test_administrators_list_and_end_sessions_and_tokens(admin: Client, sign_in: SignIn) -> None:
    user = sign_in()
    created = user.call("POST", "/api/auth/tokens", json={"name": "ci"}, expect=201)["data"]
    script = Client(user.app, user.document, created["token"])
    path = f"/api/users/{user.user.id}"
    (token,) = admin.call("GET", f"{path}/tokens")["data"]
    assert (token["id"], "token" in token) == (created["id"], False)
    admin.call("DELETE", f"{path}/tokens/{created['id']}")
    script.call("GET", "/api/auth/me", expect=401)
    (session,) = admin.call("GET", f"{path}/sessions")["data"]
    assert session["is_current"] is False
    admin.call("DELETE", f"{path}/sessions/{session['id']}")
    user.call("GET", "/api/auth/me", expect=401)
    admin.call("DELETE", f"{path}/sessions/{session['id']}", expect=404)


def test_administrators_end_all_sessions_of_a_user(admin: Client, sign_in: SignIn, anonymous: Client) -> None:
    user = sign_in()
    log_in(anonymous, user.user, PASSWORD)
    admin.call("DELETE", f"/api/users/{user.user.id}/sessions")
    user.call("GET", "/api/auth/me", expect=401)
    assert admin.call("GET", f"/api/users/{user.user.id}/sessions")["data"] == []


def test_missing_user_is_not_found(admin: Client) -> None:
    for user_id in (4711, 10**17):
        admin.call("POST", f"/api/users/{user_id}/unlock", expect=404)
        admin.call("POST", f"/api/users/{user_id}/reset-password", expect=404)
        admin.call("GET", f"/api/users/{user_id}/sessions", expect=404)
        admin.call("DELETE", f"/api/users/{user_id}/tokens/1", expect=404)
