"""Deactivation ends sessions, tokens and reset links at once, and reactivation does not revive them."""

import re
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.mail.outbox import Outbox, decrypt
from app.tokens import service as tokens
from app.users import passwords
from app.users.models import User
from tests.backends import on_servers
from tests.client import PASSWORD, Body, Client
from tests.factories import Make
from tests.openapi import Document

ME, REFRESH = ("GET", "/api/auth/me"), ("POST", "/api/auth/refresh")


class Credentials(NamedTuple):
    """Everything that gives access to an account without its password."""

    access: Client
    refresh: Client
    script: Client
    link: str

    def refusals(self) -> list[str]:
        """The reason why each of them is refused."""
        calls = ((self.access, *ME), (self.refresh, *REFRESH), (self.script, *ME))
        return [client.call(method, path, expect=401)["data"]["reason"] for client, method, path in calls]


@pytest.fixture
def credentials(app: Flask, document: Document, make: Make, anonymous: Client, admin: Client) -> Credentials:
    user = make(User)
    signed_in = log_in(anonymous, user)
    access = Client(app, document, signed_in["access_token"], user)
    script = access.call("POST", "/api/auth/tokens", json={"name": "ci", "scopes": ["write"]}, expect=201)["data"]
    admin.call("POST", f"/api/users/{user.id}/reset-password", expect=202)
    with app.app_context():
        content = db.session.scalars(sa.select(Outbox.content)).one()
        link = re.search(r"token=(\S+)", decrypt(content or b"")["txt"])
    assert link is not None
    return Credentials(
        access, Client(app, document, signed_in["refresh_token"]), Client(app, document, script["token"]), link[1]
    )


def log_in(anonymous: Client, user: User, expect: int = 200) -> Body:
    credentials = {"username": user.username, "password": PASSWORD}
    data: Body = anonymous.call("POST", "/api/auth/login", json=credentials, expect=expect)["data"]
    return data


def set_active(admin: Client, user: User, is_active: bool) -> None:
    admin.call("PATCH", f"/api/users/{user.id}", json={"is_active": is_active})


def test_deactivation_ends_all_access(credentials: Credentials, admin: Client, anonymous: Client) -> None:
    user = credentials.access.user
    set_active(admin, user, False)
    assert credentials.refusals() == ["token_revoked"] * 3
    log_in(anonymous, user, expect=401)
    denied = admin.call("GET", "/api/audit-logs", query_string={"action": "denied", "resource_id": user.id})
    assert denied["pagination"]["total"] == 3


def test_reactivation_revives_nothing(credentials: Credentials, admin: Client, anonymous: Client, app: Flask) -> None:
    user = credentials.access.user
    set_active(admin, user, False)
    set_active(admin, user, True)
    assert credentials.refusals() == ["token_revoked"] * 3
    body = {"token": credentials.link, "new_password": "another long password"}
    anonymous.call("POST", "/api/auth/reset-password", json=body, expect=422)
    assert admin.call("GET", f"/api/users/{user.id}/sessions")["data"] == []
    (token,) = admin.call("GET", f"/api/users/{user.id}/tokens")["data"]
    assert token["revoked_at"] is not None
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"action": "token_revoke"})["data"]
    assert (record["user_id"], record["resource_id"], record["resource_name"]) == (admin.user.id, token["id"], "ci")
    again = Client(app, credentials.access.document, log_in(anonymous, user)["access_token"])
    again.call(*ME)


def test_other_changes_of_a_user_revoke_nothing(credentials: Credentials, admin: Client) -> None:
    same = {"is_active": True, "full_name": "Somebody", "role": "admin"}
    admin.call("PATCH", f"/api/users/{credentials.access.user.id}", json=same)
    credentials.access.call(*ME)
    credentials.script.call(*ME)
    credentials.refresh.call(*REFRESH)


def in_other_thread(call: Callable[[], Any]) -> None:
    """Call something in another thread, and wait for it."""
    thread = Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another long password"}])
def test_login_overtaken_by_an_administrator_fails(
    admin: Client, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch, change: Body
) -> None:
    """The account is deactivated, or its password changed, between the comparison and the session."""
    user, compare = make(User), passwords.bcrypt.checkpw

    def change_first(password: bytes, hashed: bytes) -> bool:
        in_other_thread(lambda: admin.call("PATCH", f"/api/users/{user.id}", json=change))
        return compare(password, hashed)

    with monkeypatch.context() as patched:
        patched.setattr(passwords.bcrypt, "checkpw", change_first)
        assert log_in(anonymous, user, expect=401) == {"reason": "wrong_credentials"}
    set_active(admin, user, True)
    assert admin.call("GET", f"/api/users/{user.id}/sessions")["data"] == []


# On SQLite the request holds the only write lock by then, so the deactivation comes after it.
@on_servers
def test_token_creation_overtaken_by_a_deactivation_fails(
    admin: Client, user: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = tokens.create

    def change_first(*args: Any) -> Body:
        in_other_thread(lambda: set_active(admin, user.user, False))
        return create(*args)

    monkeypatch.setattr(tokens, "create", change_first)
    user.call("POST", "/api/auth/tokens", json={"name": "ci"}, expect=401)
    assert admin.call("GET", f"/api/users/{user.user.id}/tokens")["data"] == []
