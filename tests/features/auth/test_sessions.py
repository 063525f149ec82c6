"""Sessions, registration, one's own activity, and the rules of passwords."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth.models import AuthSession
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.users.models import User
from app.users.passwords import is_well_known, password_errors
from tests.client import PASSWORD, Body, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database


def log_in(anonymous: Client, user: User) -> Body:
    answer = anonymous.call("POST", "/api/auth/login", json={"username": user.username, "password": PASSWORD})
    tokens: Body = answer["data"]
    return tokens


def audited(app: Flask, *actions: str) -> list[tuple[Any, ...]]:
    log = AuditLog.__table__
    columns = (log.c.action, log.c.user_id, log.c.resource_id)
    with app.app_context():
        records = db.session.execute(sa.select(*columns).where(log.c.action.in_(actions)).order_by(log.c.id)).all()
    return [tuple(record) for record in records]


def test_sessions_are_listed_and_ended(sign_in: SignIn, anonymous: Client, app: Flask) -> None:
    user = sign_in()
    second = log_in(anonymous, user.user)
    listed = user.call("GET", "/api/auth/sessions")
    assert listed["pagination"]["total"] == 2
    assert [session["is_current"] for session in listed["data"]] == [False, True]
    user.call("DELETE", f"/api/auth/sessions/{listed['data'][0]['id']}")
    for token in (second["access_token"], second["refresh_token"]):
        bearer = {"Authorization": f"Bearer {token}"}
        path = "/api/auth/refresh" if token == second["refresh_token"] else "/api/auth/me"
        anonymous.call("POST" if "refresh" in path else "GET", path, headers=bearer, expect=401)
    assert user.call("GET", "/api/auth/sessions")["pagination"]["total"] == 1
    records = audited(app, "logout", "denied")
    assert records == [("logout", user.user.id, user.user.id), *[("denied", user.user.id, user.user.id)] * 2]


def test_sessions_of_others_are_not_found(user: Client, other: Client, admin: Client) -> None:
    session = user.call("GET", "/api/auth/sessions")["data"][0]["id"]
    for client in (other, admin):
        client.call("DELETE", f"/api/auth/sessions/{session}", expect=404)
    user.call("GET", "/api/auth/me")


def test_logout_everywhere_ends_all_sessions(sign_in: SignIn, anonymous: Client) -> None:
    user = sign_in()
    log_in(anonymous, user.user)
    user.call("POST", "/api/auth/logout", query_string={"everywhere": "true"})
    user.call("GET", "/api/auth/me", expect=401)
    user.token = log_in(anonymous, user.user)["access_token"]
    assert user.call("GET", "/api/auth/sessions")["pagination"]["total"] == 1


def test_refresh_prolongs_the_session(app: Flask, document: Document, make: Make, anonymous: Client) -> None:
    tokens = log_in(anonymous, make(User))
    with app.app_context():
        before = db.session.scalars(sa.select(AuthSession)).one().expires_at
    Client(app, document, tokens["refresh_token"]).call("POST", "/api/auth/refresh")
    with app.app_context():
        assert db.session.scalars(sa.select(AuthSession)).one().expires_at > before


def test_registration_is_closed_by_default(anonymous: Client) -> None:
    body = {"username": "newcomer", "email": "new@example.com", "password": PASSWORD}
    failed = anonymous.call("POST", "/api/auth/register", json=body, expect=403)
    assert failed["data"]["reason"] == "registration_closed"


def test_registration_creates_ordinary_users(build_app: Any, document: Document) -> None:
    client = Client(build_app(REGISTRATION_ENABLED=True), document)
    body = {"username": "newcomer", "email": "new@example.com", "password": PASSWORD}
    created = client.call("POST", "/api/auth/register", json=body, expect=201)["data"]
    assert (created["role"], created["is_active"]) == ("user", True)
    refused = client.call("POST", "/api/auth/register", json={**body, "username": "NEWCOMER"}, expect=409)
    assert list(refused["data"]["errors"]) in (["username"], ["email"])
    for extra in ({"role": "admin"}, {"is_active": True}, {"created_by_id": 1}, {"version": 3}):
        client.call("POST", "/api/auth/register", json={**body, **extra}, expect=422)
    client.call("POST", "/api/auth/login", json={"username": "new@example.com", "password": PASSWORD})


def test_users_see_their_own_activity(sign_in: SignIn, anonymous: Client) -> None:
    user, other = sign_in(), sign_in()
    anonymous.call("POST", "/api/auth/login", json={"username": user.user.username, "password": "no"}, expect=401)
    listed = user.call("GET", "/api/auth/me/activity", query_string={"sort": "-id"})
    assert [record["action"] for record in listed["data"]] == ["login_failed", "login"]
    assert listed["pagination"]["total"] == 2
    failed = user.call("GET", "/api/auth/me/activity", query_string={"action": "login_failed", "fields": "id"})
    assert len(failed["data"]) == 1
    # The use of a token whose session has ended is part of it.
    stale = Client(user.app, user.document, user.token)
    user.call("POST", "/api/auth/logout")
    stale.call("GET", "/api/auth/me", expect=401)
    tokens = log_in(anonymous, user.user)
    user.token = tokens["access_token"]
    (denied,) = user.call("GET", "/api/auth/me/activity", query_string={"action": "denied"})["data"]
    assert denied["token_id"] is not None
    assert other.call("GET", "/api/auth/me/activity", query_string={"user_id": user.user.id})["data"] == []
    other.call("GET", "/api/auth/me/activity", query_string={"colour": "red"}, expect=400)


@pytest.mark.parametrize(
    "password",
    ["password123", "P@ssw0rd2024", "1234567890", "QWERTYUIOP", "aaaaaaaaaa", "Administrator!", "12121212121"],
)
def test_well_known_passwords_are_refused(admin: Client, password: str) -> None:
    body = {"username": "someone", "email": "s@example.com", "password": password}
    failed = admin.call("POST", "/api/users", json=body, expect=422)
    assert failed["data"]["errors"] == {"password": ["May not be a well-known password."]}


def test_password_may_not_be_the_username_even_if_only_the_password_is_sent(admin: Client, make: Make) -> None:
    user = make(User, username="Unmistakable.Name")
    body = {"password": "unmistakable.name"}
    failed = admin.call("PATCH", f"/api/users/{user.id}", json=body, expect=422)
    assert failed["data"]["errors"] == {"password": ["May not be the username."]}


@pytest.mark.parametrize(
    "password", ["correct horse battery", "tr0ub4dor&3x", "纯属偶然的一句话啊啊啊", "x" * 9 + "yz" * 9]
)
def test_other_passwords_are_accepted(password: str) -> None:
    assert not is_well_known(password)
    assert password_errors(password, "somebody") == []


def test_demotion_and_deactivation_take_effect_with_the_next_request(sign_in: SignIn, admin: Client) -> None:
    second = sign_in(role=Role.ADMIN)
    second.call("GET", "/api/users")
    admin.call("PATCH", f"/api/users/{second.user.id}", json={"role": "user"})
    second.call("GET", "/api/users", expect=403)
    admin.call("PATCH", f"/api/users/{second.user.id}", json={"is_active": False})
    second.call("GET", "/api/auth/me", expect=401)
