"""Staying signed in, and what ends it at once."""

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

NEW_PASSWORD = "another canary of a password"


class Session:
    """Somebody's session: its two tokens, and what they open."""

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

    def assert_lives(self) -> None:
        self.client.call("GET", "/api/auth/me")

    def assert_is_over(self) -> None:
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
    """What the log says happened to a user, in order."""
    query = {"resource_type": "users", "resource_id": user.id, "sort": "id", "page_size": 100}
    return [record["action"] for record in admin.call("GET", "/api/audit-logs", query_string=query)["data"]]


def test_a_refresh_gives_new_tokens(make: Make, begin: Begin) -> None:
    first = begin(make(User))
    second = first.refreshed()
    third = second.refreshed()
    third.assert_lives()
    assert len({first.access, second.access, third.access}) == 3
    assert len({first.refresher, second.refresher, third.refresher}) == 3
    # The access token of before lives on until it expires: it is the same session.
    first.assert_lives()


def test_a_refresh_token_that_is_used_twice_ends_the_session(make: Make, begin: Begin, admin: Client) -> None:
    """Somebody has a copy, and nobody knows who."""
    user = make(User)
    first, elsewhere = begin(user), begin(user)
    second = first.refreshed()
    assert first.refresh(expect=401)["reason"] == "token_revoked"
    for session in (first, second):
        session.assert_is_over()
    elsewhere.assert_lives()
    assert actions(admin, user)[-1] == "denied"


def test_a_logout_ends_the_session_at_once_and_no_other(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session, elsewhere = begin(user), begin(user)
    assert session.client.call("POST", "/api/auth/logout")["data"] is None
    session.assert_is_over()
    elsewhere.assert_lives()
    assert [action for action in actions(admin, user) if action != "denied"][-1] == "logout"
    assert session.client.call("POST", "/api/auth/logout", expect=401)


def test_a_changed_password_ends_the_other_sessions(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    here, there = begin(user), begin(user)
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert here.client.call("POST", "/api/auth/change-password", json=change)["data"] is None
    here.assert_lives()
    here.refreshed().assert_lives()
    there.assert_is_over()
    # The tokens of the session that has ended were refused, and that is recorded too.
    assert [action for action in actions(admin, user) if action != "denied"] == [
        "create",
        "login",
        "login",
        "password_change",
    ]
    begin(user, NEW_PASSWORD).assert_lives()
    credentials = {"username": user.username, "password": PASSWORD}
    here.client.call("POST", "/api/auth/login", json=credentials, expect=401)


def test_the_record_of_a_changed_password_does_not_have_it(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    begin(user).client.call("POST", "/api/auth/change-password", json=change)
    query = {"action": "password_change"}
    (record,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert record["changes"] == {"password_hash": {"old": None, "new": "changed"}}
    assert (record["resource_id"], record["version"], record["username"]) == (user.id, 2, user.username)


@pytest.mark.parametrize(
    ("current", "new", "field"),
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
def test_a_password_that_cannot_be_changed_so(
    make: Make, begin: Begin, current: str, new: str | None, field: str
) -> None:
    user = make(User, username="the-username")
    here, there = begin(user), begin(user)
    change = {"current_password": current, "new_password": new}
    answer = here.client.call("POST", "/api/auth/change-password", json=change, expect=422)
    assert list(answer["data"]["errors"]) == [field]
    there.assert_lives()
    begin(user)


def test_a_password_that_an_administrator_sets_ends_every_session(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"password": NEW_PASSWORD})
    session.assert_is_over()
    begin(user, NEW_PASSWORD)


def test_a_user_who_is_deactivated_is_out_at_once(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"is_active": False})
    session.assert_is_over()


def test_a_user_who_is_deleted_is_out_at_once(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("DELETE", f"/api/users/{user.id}")
    session.assert_is_over()


def test_another_change_of_the_user_ends_nothing(make: Make, begin: Begin, admin: Client) -> None:
    user = make(User)
    session = begin(user)
    admin.call("PATCH", f"/api/users/{user.id}", json={"username": "renamed", "role": "admin"})
    assert session.client.call("GET", "/api/auth/me")["data"]["username"] == "renamed"
    session.client.call("GET", "/api/users")


def test_each_token_opens_its_own_doors_only(app: Flask, document: Document, make: Make, begin: Begin) -> None:
    session = begin(make(User))
    for path in ("/api/auth/me", "/api/servers"):
        answer = Client(app, document, session.refresher).call("GET", path, expect=401)
        assert answer["data"]["reason"] == "token_invalid"
    answer = Client(app, document, session.access).call("POST", "/api/auth/refresh", expect=401)
    assert answer["data"]["reason"] == "token_invalid"
    session.refreshed().assert_lives()


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
    # An expired refresh token is no copy of somebody else's: it ends nothing.
    session.refreshed().assert_lives()


def test_no_token_is_kept(app: Flask, make: Make, begin: Begin) -> None:
    session = begin(make(User))
    with app.app_context():
        row = db.session.execute(sa.select(AuthSession.__table__)).one()
    kept = " ".join(str(value) for value in row)
    assert session.access not in kept
    assert session.refresher not in kept
    assert row.ip_address == "127.0.0.1"


def test_i_may_change_some_things_of_myself(user: Client) -> None:
    mine = {"email": "new@example.com", "full_name": "Ada Lovelace", "phone": "+44 1"}
    assert {**user.call("PATCH", "/api/auth/me", json=mine)["data"], **mine}["version"] == 2
    me = user.call("GET", "/api/auth/me")["data"]
    assert {name: me[name] for name in mine} == mine


def test_and_nothing_else(user: Client) -> None:
    for field, value in (
        ("role", "admin"),
        ("is_active", False),
        ("username", "x"),
        ("password", NEW_PASSWORD),
        ("id", 1),
        ("version", 7),
        ("created_by_id", 1),
        ("failed_login_attempts", 0),
    ):
        answer = user.call("PATCH", "/api/auth/me", json={field: value}, expect=422)
        assert list(answer["data"]["errors"]) == [field]
    assert user.call("GET", "/api/auth/me")["data"]["version"] == 1


def test_a_role_is_looked_up_with_each_request(sign_in: SignIn, admin: Client) -> None:
    user = sign_in()
    user.call("GET", "/api/users", expect=403)
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"role": Role.ADMIN.value})
    user.call("GET", "/api/users")
