"""Scripts sign in with tokens of their own."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.values import utcnow
from app.tokens.models import PersonalToken
from tests.client import Body, Client
from tests.conftest import SignIn, Statements
from tests.openapi import Document

SERVER = {"name": "a"}


def token_of(client: Client, **fields: Any) -> Body:
    made: Body = client.call("POST", "/api/auth/tokens", json={"name": "ci", **fields}, expect=201)["data"]
    return made


def script(client: Client, **fields: Any) -> Client:
    return Client(client.app, client.document, token_of(client, **fields)["token"], client.user)


def change(app: Flask, **values: Any) -> None:
    with app.app_context():
        db.session.execute(sa.update(PersonalToken.__table__).values(**values))
        db.session.commit()


def test_a_token_is_shown_once_and_kept_as_a_hash(user: Client, app: Flask) -> None:
    made = token_of(user, scopes=["write"])
    assert made["token"].startswith("itam_pat_")
    assert len(made["token"]) == len("itam_pat_") + 40
    assert made["scopes"] == ["read", "write"]
    listed = user.send("GET", "/api/auth/tokens")
    assert made["token"].encode() not in listed.data
    assert listed.get_json()["data"][0]["hint"] == made["token"][-4:]
    with app.app_context():
        row = db.session.execute(sa.select(PersonalToken.__table__)).one()
    assert made["token"] not in map(str, row)


def test_a_read_token_reads_and_a_write_token_writes(user: Client) -> None:
    reader, writer = script(user), script(user, scopes=["write"])
    reader.call("GET", "/api/servers")
    refused = reader.call("POST", "/api/servers", json=SERVER, expect=403)
    assert refused["data"]["reason"] == "scope"
    made = writer.call("POST", "/api/servers", json=SERVER, expect=201)["data"]
    assert made["created_by"]["id"] == user.user.id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/auth/tokens"),
        ("POST", "/api/auth/tokens"),
        ("DELETE", "/api/auth/tokens/1"),
        ("GET", "/api/auth/sessions"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/auth/change-password"),
        ("PATCH", "/api/auth/me"),
    ],
)
def test_a_token_manages_neither_tokens_nor_sessions_nor_passwords(user: Client, method: str, path: str) -> None:
    body = {} if method in ("GET", "DELETE") or path.endswith("logout") else {"json": {"name": "another"}}
    refused = script(user, scopes=["write"]).call(method, path, expect=403, **body)
    assert refused["data"]["reason"] == "not_in_person"


def test_what_ends_a_token_ends_it_with_the_next_request_and_its_use_is_recorded(
    sign_in: SignIn, admin: Client, app: Flask
) -> None:
    user = sign_in()
    for ended, reason in (("revoked", "token_revoked"), ("expired", "token_expired"), ("inactive", "token_revoked")):
        made = token_of(user)
        client = Client(app, user.document, made["token"])
        client.call("GET", "/api/servers")
        if ended == "revoked":
            user.call("DELETE", f"/api/auth/tokens/{made['id']}")
            user.call("DELETE", f"/api/auth/tokens/{made['id']}", expect=404)
        elif ended == "expired":
            change(app, expires_at=utcnow() - timedelta(seconds=1))
        else:
            admin.call("PATCH", f"/api/users/{user.user.id}", json={"is_active": False})
        assert client.call("GET", "/api/servers", expect=401)["data"]["reason"] == reason
        assert client.call("POST", "/api/servers", json=SERVER, expect=401)["data"]["reason"] == reason
        log = AuditLog.__table__
        with app.app_context():
            tried = sa.select(log).where(log.c.action == "denied", log.c.token_id == f"token-{made['id']}")
            found = db.session.execute(tried).all()
        assert [(row.user_id, row.ip_address) for row in found] == [(user.user.id, "127.0.0.1")] * 2


def test_a_token_opens_only_from_its_networks(user: Client) -> None:
    script(user, networks=["127.0.0.1", "::1/128"]).call("GET", "/api/auth/me")
    elsewhere = script(user, networks=["10.0.0.0/8"])
    assert elsewhere.call("GET", "/api/auth/me", expect=401)["data"]["reason"] == "token_network"
    for wrong in (["10.0.0.1/8"], ["anywhere"], [5], ["10.0.0.0/8"] * 33):
        user.call("POST", "/api/auth/tokens", json={"name": "ci", "networks": wrong}, expect=422)


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"scopes": []}, {"scopes": ["admin"]}, {"expires_at": "2020-01-01T00:00:00Z"}, {"user_id": 1}],
)
def test_what_is_no_token_is_refused(user: Client, wrong: Body) -> None:
    user.call("POST", "/api/auth/tokens", json={"name": "ci", **wrong}, expect=422)


@pytest.mark.parametrize("end", ["", "x", "0" * 40, "é" * 40, "\x01"])
def test_a_likeness_of_a_token_opens_nothing(app: Flask, document: Document, end: str, statements: Statements) -> None:
    with statements() as sent:
        Client(app, document, f"itam_pat_{end}".encode().decode("latin-1")).call("GET", "/api/auth/me", expect=401)
    assert sent == []


def test_nobody_sees_or_ends_the_token_of_somebody_else(user: Client, other: Client, admin: Client) -> None:
    made = token_of(user)
    for client in (other, admin):
        assert client.call("GET", "/api/auth/tokens")["data"] == []
        client.call("DELETE", f"/api/auth/tokens/{made['id']}", expect=404)


def test_a_token_costs_a_request_one_statement_and_its_use_is_noted_once_a_minute(
    user: Client, statements: Statements, app: Flask
) -> None:
    client = script(user)
    client.call("GET", "/api/environments")
    with statements() as by_token:
        client.call("GET", "/api/environments")
    with statements() as by_session:
        user.call("GET", "/api/environments")
    assert len(by_token) == len(by_session)
    listed = user.call("GET", "/api/auth/tokens")["data"][0]
    assert listed["last_used_ip"] == "127.0.0.1"
    change(app, last_used_at=utcnow() - timedelta(minutes=2))
    client.call("GET", "/api/environments")
    assert user.call("GET", "/api/auth/tokens")["data"][0]["last_used_at"] >= listed["last_used_at"]


def test_what_a_token_does_is_recorded_with_it(user: Client, sign_in: SignIn) -> None:
    made = token_of(user, scopes=["write"])
    Client(user.app, user.document, made["token"]).call("POST", "/api/servers", json=SERVER, expect=201)
    user.call("DELETE", f"/api/auth/tokens/{made['id']}")
    records = sign_in(role=Role.ADMIN).call("GET", "/api/audit-logs", query_string={"username": user.user.username})
    found = [(record["action"], record["token_id"]) for record in records["data"]]
    assert ("create", f"token-{made['id']}") in found
    assert [action for action, _ in found] == ["login", "token_create", "create", "token_revoke"]
