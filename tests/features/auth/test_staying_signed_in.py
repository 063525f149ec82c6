"""Refresh, logout, changed passwords and expiry: how long a session and its tokens are valid."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token

from app.auth.models import AuthSession
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.users.models import User
from tests.client import PASSWORD, Body, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database

NEW_PASSWORD = "another canary of a password"


class Session:
    """A session with its two tokens."""

    def __init__(self, app: Flask, document: Document, tokens: Body) -> None:
        self.app, self.document = app, document
        self.access, self.refresher = tokens["access_token"], tokens["refresh_token"]

    @property
    def client(self) -> Client:
        return Client(self.app, self.document, self.access)

    def refresh(self, expect: int = 200) -> Body:
        answer = Client(self.app, self.document, self.refresher).call("POST", "/api/auth/refresh", expect=expect)
        data: Body = answer["data"]
        return data

    def refreshed(self) -> "Session":
        return Session(self.app, self.document, self.refresh())

    def assert_is_valid(self) -> None:
        self.client.call("GET", "/api/auth/me")

    def assert_has_ended(self) -> None:
        for data in (self.client.call("GET", "/api/auth/me", expect=401)["data"], self.refresh(expect=401)):
            assert data["reason"] == "token_revoked"


Begin = Callable[..., Session]


@pytest.fixture
def begin(app: Flask, document: Document, anonymous: Client) -> Begin:
    """Sign a user in: `begin(user)`."""

    def begin(user: User, password: str = PASSWORD) -> Session:
        credentials = {"username": user.username, "password": password}
        return Session(app, document, anonymous.call("POST", "/api/auth/login", json=credentials)["data"])

    return begin


def actions(admin: Client, user: User) -> list[str]:
    """The audited actions on a user, in order."""
    query = {"resource_type": "users", "resource_id": user.id, "sort": "id", "page_size": 100}
    return [record["action"] for record in admin.call("GET", "/api/audit-logs", query_string=query)["data"]]


def test_refresh_returns_new_tokens(make: Make, begin: Begin) -> None:
    first = begin(make(User))
    second = first.refreshed()
    third = second.refreshed()
    third.assert_is_valid()
    assert len({first.access, second.access, third.access}) == 3
    assert len({first.refresher, second.refresher, third.refresher}) == 3
    # The earlier access token stays valid until it expires: the session is the same.
    first.assert_is_valid()


def test_reuse_of_a_refresh_token_ends_the_session(make: Make, begin: Begin, admin: Client) -> None:
    """One of the two clients may have stolen the token, and it is unknown which."""
    user = make(User)
    first, elsewhere = begin(user), begin(user)
    second = first.refreshed()
    assert first.refresh(expect=401)["reason"] == "token_revoked"
    for session in (first, second):
        session.assert_has_ended()
    elsewhere.assert_is_valid()
    assert actions(admin, user)[-1] == "denied"


def test_logout_ends_one_session(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session, elsewhere = begin(user), begin(user)
    assert session.client.call("POST", "/api/auth/logout")["data"] is None
    session.assert_has_ended()
    elsewhere.assert_is_valid()
    assert [action for action in actions(admin, user) if action != "denied"][-1] == "logout"
    assert session.client.call("POST", "/api/auth/logout", expect=401)


def test_password_change_ends_the_other_sessions(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    current, other = begin(user), begin(user)
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert current.client.call("POST", "/api/auth/change-password", json=change)["data"] is None
    current.assert_is_valid()
    current.refreshed().assert_is_valid()
    other.assert_has_ended()
    # The refusals of the ended session are audited too.
    assert [action for action in actions(admin, user) if action != "denied"] == [
        "create",
        "login",
        "login",
        "password_change",
    ]
    begin(user, NEW_PASSWORD).assert_is_valid()
    credentials = {"username": user.username, "password": PASSWORD}
    current.client.call("POST", "/api/auth/login", json=credentials, expect=401)


def test_audit_record_of_a_password_change_has_no_password(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    begin(user).client.call("POST", "/api/auth/change-password", json=change)
    query = {"action": "password_change"}
    (record,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert record["changes"] == {"password_hash": {"old": None, "new": "changed"}}
    assert (record["resource_id"], record["version"], record["username"]) == (user.id, 2, user.username)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("wrong password", NEW_PASSWORD, "current_password"),
        (PASSWORD, "too short", "new_password"),
        (PASSWORD, "x" * 73, "new_password"),
        (PASSWORD, "長" * 25, "new_password"),
        (PASSWORD, "nul\x00 nul nul", "new_password"),
        (PASSWORD, "THE-USERNAME", "new_password"),
        ("", NEW_PASSWORD, "current_password"),
        (PASSWORD, "", "new_password"),
        (PASSWORD, None, "new_password"),
    ],
)
def test_invalid_password_changes_are_refused(make: Make, begin: Begin, old: str, new: str | None, field: str) -> None:
    user = make(User, username="the-username")
    current, other = begin(user), begin(user)
    change = {"current_password": old, "new_password": new}
    answer = current.client.call("POST", "/api/auth/change-password", json=change, expect=422)
    assert list(answer["data"]["errors"]) == [field]
    other.assert_is_valid()
    begin(user)


@pytest.mark.parametrize(("old", "new"), [(None, "too short"), ("", "short"), ("wrong password", "THE-USERNAME")])
def test_a_bad_new_password_is_reported_with_a_wrong_one(make: Make, begin: Begin, old: str | None, new: str) -> None:
    client = begin(make(User, username="the-username")).client
    change = {"current_password": old, "new_password": new}
    errors = client.call("POST", "/api/auth/change-password", json=change, expect=422)["data"]["errors"]
    assert set(errors) == {"current_password", "new_password"}


def test_password_set_by_an_administrator_ends_all_sessions(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"password": NEW_PASSWORD})
    session.assert_has_ended()
    begin(user, NEW_PASSWORD)


def test_deactivation_ends_the_session(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"is_active": False})
    session.assert_has_ended()


def test_deletion_of_the_user_ends_the_session(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("DELETE", f"/api/users/{user.id}")
    session.assert_has_ended()


def test_other_changes_of_the_user_end_no_session(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"username": "renamed", "role": "admin"})
    assert session.client.call("GET", "/api/auth/me")["data"]["username"] == "renamed"
    session.client.call("GET", "/api/users")


def test_access_and_refresh_tokens_are_not_interchangeable(
    app: Flask, document: Document, make: Make, begin: Begin
) -> None:
    session = begin(make(User))
    for path in ("/api/auth/me", "/api/servers"):
        answer = Client(app, document, session.refresher).call("GET", path, expect=401)
        assert answer["data"]["reason"] == "token_invalid"
    answer = Client(app, document, session.access).call("POST", "/api/auth/refresh", expect=401)
    assert answer["data"]["reason"] == "token_invalid"
    session.refreshed().assert_is_valid()


def test_tokens_expire(app: Flask, document: Document, make: Make, begin: Begin) -> None:
    user = make(User)
    session = begin(user)
    with app.app_context():
        claims = decode_token(session.access)
        assert claims["exp"] - claims["iat"] == 30 * 60
        claims = decode_token(session.refresher)
        assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
        late = {"expires_delta": timedelta(seconds=-1), "additional_claims": {"sid": claims["sid"], "gen": 0}}
        access, refresher = create_access_token(str(user.id), **late), create_refresh_token(str(user.id), **late)
    for token, method, path in ((access, "GET", "/api/auth/me"), (refresher, "POST", "/api/auth/refresh")):
        answer = Client(app, document, token).call(method, path, expect=401)
        assert answer["data"]["reason"] == "token_expired"
    # An expired refresh token is not taken for reuse: the session goes on.
    session.refreshed().assert_is_valid()


def test_tokens_are_not_stored(app: Flask, make: Make, begin: Begin) -> None:
    session = begin(make(User))
    with app.app_context():
        row = db.session.execute(sa.select(AuthSession.__table__)).one()
    stored = " ".join(str(value) for value in row)
    assert session.access not in stored
    assert session.refresher not in stored
    assert row.ip_address == "127.0.0.1"


def test_users_update_their_own_profile(user: Client) -> None:
    mine = {"email": "new@example.com", "full_name": "Ada Lovelace", "phone": "+44 1", "language": "zh"}
    sent = {**mine, "current_password": PASSWORD}
    assert {**user.call("PATCH", "/api/auth/me", json=sent)["data"], **mine}["version"] == 2
    me = user.call("GET", "/api/auth/me")["data"]
    assert {name: me[name] for name in mine} == mine


def test_users_cannot_update_other_fields_of_themselves(user: Client) -> None:
    for field, value in (
        ("role", "admin"),
        ("is_active", False),
        ("username", "x"),
        ("password", NEW_PASSWORD),
        ("id", 4711),
        ("version", 7),
        ("created_by_id", 1),
        ("failed_login_attempts", 0),
    ):
        answer = user.call("PATCH", "/api/auth/me", json={field: value}, expect=422)
        assert list(answer["data"]["errors"]) == [field]
    assert user.call("GET", "/api/auth/me")["data"]["version"] == 1


def test_role_change_takes_effect_with_the_next_request(sign_in: SignIn, admin: Client) -> None:
    user = sign_in()
    user.call("GET", "/api/users", expect=403)
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"role": Role.ADMIN.value})
    user.call("GET", "/api/users")
