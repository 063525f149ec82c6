"""The link that somebody asks for who has forgotten their password."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.accounts.models import PasswordReset
from app.accounts.service import REQUEST_INTERVAL
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.jobs.queue import Job
from app.core.jobs.runner import runner_of
from app.core.mail.outbox import Outbox
from app.core.values import utcnow
from app.users.models import User
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.auth.smtp_servers import Inbox, server
from tests.features.auth.test_accounts import log_in
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database

NEW = "another long password"
PATH = "/api/auth/forgotten-password"


@pytest.fixture
def mailing(build_app: BuildApp) -> Flask:
    """An installation that sends mail, to a server that is not there."""
    return build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=9)


def ask(app: Flask, document: Document, identifier: str) -> Client:
    """Ask for a link as somebody who is not signed in, and carry out what this queued."""
    client = Client(app, document)
    answer = client.call("POST", PATH, json={"username": identifier}, expect=202)
    assert answer["data"] is None
    return client


def rows(app: Flask, *statements: Any) -> Any:
    with app.app_context():
        return [db.session.execute(statement).all() for statement in statements]


def recipients(app: Flask) -> list[str]:
    runner_of(app).run_pending()
    (mails,) = rows(app, sa.select(Outbox.recipient).order_by(Outbox.id))
    return [recipient for (recipient,) in mails]


def test_the_link_is_mailed_and_sets_a_password(build_app: BuildApp, document: Document, make: Make) -> None:
    user = make(User, username="Ada.Lovelace")
    inbox = Inbox()
    with server(inbox) as port:
        app = build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
        client = ask(app, document, "ada.lovelace")
        runner_of(app).run_pending()
    (message,) = inbox.received
    assert message["To"] == user.email
    text = next(part for part in message.walk() if part.get_content_type() == "text/plain")
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert b"Somebody has asked for a link" in content
    token = re.findall(rb"#token=(\S+)", content)[0].decode()
    assert client.call("POST", "/api/auth/reset-link", json={"token": token})["data"] == {"username": "Ada.Lovelace"}
    client.call("POST", "/api/auth/reset-password", json={"token": token, "new_password": NEW})
    client.call("POST", "/api/auth/reset-link", json={"token": token}, expect=422)
    log_in(client, user, NEW)


def test_the_audit_log_says_from_where_it_was_asked_for(mailing: Flask, document: Document, make: Make) -> None:
    user = make(User)
    ask(mailing, document, user.email)
    assert recipients(mailing) == [user.email]
    log = AuditLog.__table__
    ((record,),) = rows(mailing, sa.select(log).where(log.c.action == "password_reset"))
    assert (record.user_id, record.resource_id, record.ip_address) == (None, user.id, "127.0.0.1")


def test_an_unknown_name_is_answered_and_queued_like_any_other(mailing: Flask, document: Document, make: Make) -> None:
    """Neither the answer nor what the request writes tells which accounts exist."""
    names = [make(User).username, make(User, is_active=False).username, "nobody", "no\x00body", "x" * 255]
    for name in names:
        ask(mailing, document, name)
    jobs, links = rows(mailing, sa.select(Job.kind, Job.state), sa.select(PasswordReset.id))
    assert jobs == [("accounts.reset_link", "queued")] * len(names)
    assert links == []
    assert len(recipients(mailing)) == 1


def test_nobody_is_flooded_with_links(mailing: Flask, document: Document, make: Make) -> None:
    user = make(User)
    for _ in range(3):
        ask(mailing, document, user.username)
    assert len(recipients(mailing)) == 1
    with mailing.app_context():
        db.session.execute(sa.update(PasswordReset.__table__).values(created_at=utcnow() - REQUEST_INTERVAL))
        db.session.commit()
    ask(mailing, document, user.username)
    assert len(recipients(mailing)) == 2
    (links,) = rows(mailing, sa.select(PasswordReset.used_at).order_by(PasswordReset.id))
    assert [used_at is None for (used_at,) in links] == [False, True]  # the earlier one is void


def test_without_mail_an_administrator_is_named(anonymous: Client, make: Make) -> None:
    refused = anonymous.call("POST", PATH, json={"username": make(User).username}, expect=409)
    assert refused["data"]["reason"] == "mail_off"
    assert "administrator" in refused["message"]


def test_features_are_shown_to_those_who_are_not_signed_in(
    build_app: BuildApp, document: Document, anonymous: Client, admin: Client
) -> None:
    features = anonymous.call("GET", "/api/meta/features")["data"]
    assert features == admin.call("GET", "/api/meta")["data"]["features"]
    assert (features["registration"], features["mail"]) == (False, False)
    app = build_app(REGISTRATION_ENABLED=True, MAIL_SERVER="127.0.0.1")
    features = Client(app, document).call("GET", "/api/meta/features")["data"]
    assert (features["registration"], features["mail"]) == (True, True)
