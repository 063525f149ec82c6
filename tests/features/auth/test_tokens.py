"""Personal access tokens: creation, scopes, networks, revocation and audit."""

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
from tests.spread import any_database

pytestmark = any_database

SERVER = {"name": "a"}


def token_of(client: Client, **fields: Any) -> Body:
    created: Body = client.call("POST", "/api/auth/tokens", json={"name": "ci", **fields}, expect=201)["data"]
    return created


def script(client: Client, **fields: Any) -> Client:
    return Client(client.app, client.document, token_of(client, **fields)["token"], client.user)


def change(app: Flask, **values: Any) -> None:
    with app.app_context():
        db.session.execute(sa.update(PersonalToken.__table__).values(**values))
        db.session.commit()


def test_token_is_shown_once_and_stored_as_a_hash(user: Client, app: Flask) -> None:
    created = token_of(user, scopes=["write"])
    assert created["token"].startswith("itam_pat_")
    assert len(created["token"]) == len("itam_pat_") + 40
    assert created["scopes"] == ["read", "write"]
    listed = user.send("GET", "/api/auth/tokens")
    assert created["token"].encode() not in listed.data
    assert listed.get_json()["data"][0]["hint"] == created["token"][-4:]
    with app.app_context():
        row = db.session.execute(sa.select(PersonalToken.__table__)).one()
    assert created["token"] not in map(str, row)


def test_scopes_limit_what_a_token_may_do(user: Client) -> None:
    reader, writer = script(user), script(user, scopes=["write"])
    reader.call("GET", "/api/servers")
    refused = reader.call("POST", "/api/servers", json=SERVER, expect=403)
    assert refused["data"]["reason"] == "scope"
    created = writer.call("POST", "/api/servers", json=SERVER, expect=201)["data"]
    assert created["created_by"]["id"] == user.user.id


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
def test_token_cannot_manage_tokens_sessions_or_passwords(user: Client, method: str, path: str) -> None:
    body = {} if method in ("GET", "DELETE") or path.endswith("logout") else {"json": {"name": "another"}}
    refused = script(user, scopes=["write"]).call(method, path, expect=403, **body)
    assert refused["data"]["reason"] == "not_in_person"


def test_invalid_token_is_refused_at_the_next_request_and_audited(sign_in: SignIn, admin: Client, app: Flask) -> None:
    user = sign_in()
    for ended, reason in (("revoked", "token_revoked"), ("expired", "token_expired"), ("inactive", "token_revoked")):
        created = token_of(user)
        client = Client(app, user.document, created["token"])
        client.call("GET", "/api/servers")
        if ended == "revoked":
            user.call("DELETE", f"/api/auth/tokens/{created['id']}")
            user.call("DELETE", f"/api/auth/tokens/{created['id']}", expect=404)
        elif ended == "expired":
            change(app, expires_at=utcnow() - timedelta(seconds=1))
        else:
            admin.call("PATCH", f"/api/users/{user.user.id}", json={"is_active": False})
        assert client.call("GET", "/api/servers", expect=401)["data"]["reason"] == reason
        assert client.call("POST", "/api/servers", json=SERVER, expect=401)["data"]["reason"] == reason
        log = AuditLog.__table__
        with app.app_context():
            denied = sa.select(log).where(log.c.action == "denied", log.c.token_id == f"token-{created['id']}")
            records = db.session.execute(denied).all()
        assert [(row.user_id, row.ip_address) for row in records] == [(user.user.id, "127.0.0.1")]


def test_token_is_limited_to_its_networks(user: Client) -> None:
    script(user, networks=["127.0.0.1", "::1/128"]).call("GET", "/api/auth/me")
    elsewhere = script(user, networks=["10.0.0.0/8"])
    assert elsewhere.call("GET", "/api/auth/me", expect=401)["data"]["reason"] == "token_network"
    for invalid in (["10.0.0.1/8"], ["anywhere"], [5], ["10.0.0.0/8"] * 33):
        user.call("POST", "/api/auth/tokens", json={"name": "ci", "networks": invalid}, expect=422)


@pytest.mark.parametrize(
    "invalid",
    [{"name": ""}, {"scopes": []}, {"scopes": ["admin"]}, {"expires_at": "2020-01-01T00:00:00Z"}, {"user_id": 1}],
)
def test_invalid_creations_are_refused(user: Client, invalid: Body) -> None:
    user.call("POST", "/api/auth/tokens", json={"name": "ci", **invalid}, expect=422)


@pytest.mark.parametrize("suffix", ["", "x", "0" * 40, "é" * 40, "\x01"])
def test_malformed_token_is_refused_without_a_query(
    app: Flask, document: Document, suffix: str, statements: Statements
) -> None:
    with statements() as sent:
        Client(app, document, f"itam_pat_{suffix}".encode().decode("latin-1")).call("GET", "/api/auth/me", expect=401)
    assert sent == []


def test_tokens_of_others_are_not_found(user: Client, other: Client, admin: Client) -> None:
    created = token_of(user)
    for client in (other, admin):
        assert client.call("GET", "/api/auth/tokens")["data"] == []
        client.call("DELETE", f"/api/auth/tokens/{created['id']}", expect=404)


def test_authentication_takes_one_statement_and_last_use_is_written_once_a_minute(
    user: Client, statements: Statements, app: Flask
) -> None:
    client = script(user)
    client.call("GET", "/api/environments")
    with statements() as by_token:
        client.call("GET", "/api/environments")
    # On PostgreSQL another one tells whether the page in the cache is out of date.
    assert len([text for text in by_token if "personal_tokens" in text]) == 1
    listed = user.call("GET", "/api/auth/tokens")["data"][0]
    assert listed["last_used_ip"] == "127.0.0.1"
    change(app, last_used_at=utcnow() - timedelta(minutes=2))
    client.call("GET", "/api/environments")
    assert user.call("GET", "/api/auth/tokens")["data"][0]["last_used_at"] >= listed["last_used_at"]


def test_audit_records_name_the_token(user: Client, sign_in: SignIn) -> None:
    created = token_of(user, scopes=["write"])
    Client(user.app, user.document, created["token"]).call("POST", "/api/servers", json=SERVER, expect=201)
    user.call("DELETE", f"/api/auth/tokens/{created['id']}")
    records = sign_in(role=Role.ADMIN).call("GET", "/api/audit-logs", query_string={"username": user.user.username})
    entries = [(record["action"], record["token_id"]) for record in records["data"]]
    assert ("create", f"token-{created['id']}") in entries
    assert [action for action, _ in entries] == ["login", "token_create", "create", "token_revoke"]
