"""Whoever is deactivated is out with the next request, whatever they hold, and reactivating them revives none of it."""

import re
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask

from app.auth import service
from app.core.db.unit_of_work import db
from app.core.mail.outbox import Outbox
from app.tokens import service as tokens
from app.users.models import User
from tests.backends import on_postgresql
from tests.client import PASSWORD, Body, Client
from tests.factories import Make
from tests.openapi import Document

ME, REFRESH = ("GET", "/api/auth/me"), ("POST", "/api/auth/refresh")


class Held(NamedTuple):
    """Everything by which somebody gets in without their password."""

    access: Client
    refresh: Client
    script: Client
    link: str

    def refusals(self) -> list[str]:
        """Why each of them opens nothing."""
        calls = ((self.access, *ME), (self.refresh, *REFRESH), (self.script, *ME))
        return [client.call(method, path, expect=401)["data"]["reason"] for client, method, path in calls]


@pytest.fixture
def held(app: Flask, document: Document, make: Make, anonymous: Client, admin: Client) -> Held:
    user = make(User)
    signed_in = log_in(anonymous, user)
    access = Client(app, document, signed_in["access_token"], user)
    script = access.call("POST", "/api/auth/tokens", json={"name": "ci", "scopes": ["write"]}, expect=201)["data"]
    admin.call("POST", f"/api/users/{user.id}/reset-password", expect=202)
    with app.app_context():
        text = db.session.scalars(sa.select(Outbox.text)).one()
    link = re.search(r"token=(\S+)", text or "")
    assert link is not None
    return Held(
        access, Client(app, document, signed_in["refresh_token"]), Client(app, document, script["token"]), link[1]
    )


def log_in(anonymous: Client, user: User, expect: int = 200) -> Body:
    credentials = {"username": user.username, "password": PASSWORD}
    data: Body = anonymous.call("POST", "/api/auth/login", json=credentials, expect=expect)["data"]
    return data


def set_active(admin: Client, user: User, is_active: bool) -> None:
    admin.call("PATCH", f"/api/users/{user.id}", json={"is_active": is_active})


def test_nothing_that_they_hold_opens_anything(held: Held, admin: Client, anonymous: Client) -> None:
    user = held.access.user
    set_active(admin, user, False)
    assert held.refusals() == ["token_revoked"] * 3
    log_in(anonymous, user, expect=401)
    denied = admin.call("GET", "/api/audit-logs", query_string={"action": "denied", "resource_id": user.id})
    assert denied["pagination"]["total"] == 3


def test_nor_after_they_have_been_reactivated(held: Held, admin: Client, anonymous: Client, app: Flask) -> None:
    user = held.access.user
    set_active(admin, user, False)
    set_active(admin, user, True)
    assert held.refusals() == ["token_revoked"] * 3
    body = {"token": held.link, "new_password": "another long password"}
    anonymous.call("POST", "/api/auth/reset-password", json=body, expect=422)
    assert admin.call("GET", f"/api/users/{user.id}/sessions")["data"] == []
    (token,) = admin.call("GET", f"/api/users/{user.id}/tokens")["data"]
    assert token["revoked_at"] is not None
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"action": "token_revoke"})["data"]
    assert (record["user_id"], record["resource_id"], record["resource_name"]) == (admin.user.id, token["id"], "ci")
    again = Client(app, held.access.document, log_in(anonymous, user)["access_token"])
    again.call(*ME)


def test_another_change_revokes_nothing(held: Held, admin: Client) -> None:
    same = {"is_active": True, "full_name": "Somebody", "role": "admin"}
    admin.call("PATCH", f"/api/users/{held.access.user.id}", json=same)
    held.access.call(*ME)
    held.script.call(*ME)
    held.refresh.call(*REFRESH)


def elsewhere(call: Callable[[], Any]) -> None:
    """Do something in another thread, and wait for it."""
    thread = Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another long password"}])
def test_a_login_that_is_overtaken_by_the_administrator_fails(
    admin: Client, make: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch, change: Body
) -> None:
    """Who was active with this password when it was compared, and is not any more."""
    user, compare = make(User), service.bcrypt.checkpw

    def overtake(password: bytes, hashed: bytes) -> bool:
        elsewhere(lambda: admin.call("PATCH", f"/api/users/{user.id}", json=change))
        return compare(password, hashed)

    with monkeypatch.context() as patched:
        patched.setattr(service.bcrypt, "checkpw", overtake)
        assert log_in(anonymous, user, expect=401) == {"reason": "wrong_credentials"}
    set_active(admin, user, True)
    assert admin.call("GET", f"/api/users/{user.id}/sessions")["data"] == []


# On SQLite the request holds the only write lock by then, so the administrator comes after it.
@on_postgresql
def test_a_token_that_is_made_meanwhile_is_not_left_behind(
    admin: Client, user: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = tokens.create

    def overtake(*args: Any) -> Body:
        elsewhere(lambda: set_active(admin, user.user, False))
        return create(*args)

    monkeypatch.setattr(tokens, "create", overtake)
    user.call("POST", "/api/auth/tokens", json={"name": "ci"}, expect=401)
    assert admin.call("GET", f"/api/users/{user.user.id}/tokens")["data"] == []
