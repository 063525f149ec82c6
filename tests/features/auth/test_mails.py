"""What administrators see of the mails, and that whatever stops one mail stops no other."""

from datetime import timedelta
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

import config
from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.core.mail import outbox
from app.core.mail.outbox import RETENTION, Outbox
from app.core.messages import LANGUAGES, tr
from app.core.values import utcnow
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.auth.smtp_servers import Inbox, free_port, server
from tests.spread import any_database

pytestmark = any_database

SUBJECT = tr("Your password was changed")
TEMPLATES = Path(config.ROOT, "app", "templates", "mail")


class RefusingInbox(Inbox):
    """Knows no recipient of a domain called nowhere."""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if address.endswith("@nowhere"):
            return "550 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def post(app: Flask, *recipients: str) -> None:
    with app.app_context():
        for recipient in recipients:
            outbox.post(recipient, None, SUBJECT, "password_changed", username="ada", time=utcnow())
        db.session.commit()


def listed(admin: Client, **query: Any) -> list[dict[str, Any]]:
    mails: list[dict[str, Any]] = admin.call("GET", "/api/mails", query_string=query)["data"]
    return mails


def test_each_mail_fails_for_itself_and_says_why(admin: Client, build_app: BuildApp) -> None:
    inbox = RefusingInbox()
    with server(inbox) as port:
        app = build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
        # The second and third were stored before addresses were checked.
        post(app, "ada@nowhere", f"ada@{'ü' * 64}.example", "ädä@example.com", "bob@example.com")
        runner_of(app).run_pending()
    assert [message["To"] for message in inbox.received] == ["bob@example.com"]
    bob, *failed = listed(admin)
    assert (bob["recipient"], bob["state"], bob["attempts"], bob["error"]) == ("bob@example.com", "sent", 1, None)
    assert [mail["state"] for mail in failed] == ["failed"] * 3
    assert [mail["attempts"] for mail in failed] == [1, 1, 1]
    assert "No such user" in failed[2]["error"]
    assert all(mail["concluded_at"] and mail["error"] for mail in failed)
    assert set(bob) == {
        *("id", "recipient", "subject", "state", "attempts", "error", "created_at", "concluded_at"),
    }


def test_the_list_has_pages_and_finds_by_state(admin: Client, build_app: BuildApp) -> None:
    app = build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=free_port())
    post(app, "a@example.com", "b@example.com")
    runner_of(app).run_pending()  # no server is listening
    post(app, "c@example.com")
    assert [mail["recipient"] for mail in listed(admin, page_size=2)] == ["c@example.com", "b@example.com"]
    page = admin.call("GET", "/api/mails", query_string={"page": 2, "page_size": 2})
    assert page["pagination"] == {"page": 2, "page_size": 2, "total": 3, "pages": 2}
    assert [(mail["attempts"], bool(mail["error"])) for mail in listed(admin, state="queued")] == [
        (0, False),
        (1, True),
        (1, True),
    ]
    assert listed(admin, state=["failed", "sent"]) == []
    for wrong in ({"state": "lost"}, {"recipient": "a@example.com"}):
        admin.call("GET", "/api/mails", query_string=wrong, expect=400)


def test_a_mail_is_in_the_language_of_its_user(user: Client, admin: Client, build_app: BuildApp) -> None:
    user.call("PATCH", "/api/auth/me", json={"language": "zh"})
    changed = {"current_password": PASSWORD, "new_password": "another long password"}
    user.call("POST", "/api/auth/change-password", json=changed)
    inbox = Inbox()
    with server(inbox) as port:
        runner_of(build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)).run_pending()
    (message,) = inbox.received
    assert str(make_header(decode_header(message["Subject"]))) == "您的密码已修改"
    texts = [str(part.get_payload(decode=True), "utf-8") for part in message.walk() if not part.is_multipart()]
    assert len(texts) == 2
    assert all(f"{user.user.username}，您好" in text for text in texts)
    assert listed(admin)[0]["subject"] == "您的密码已修改"


def test_every_mail_is_there_in_every_language() -> None:
    of_language = [{path.name for path in (TEMPLATES / language).iterdir()} for language in LANGUAGES]
    assert all(names == of_language[0] for names in of_language)
    assert "password_reset.txt" in of_language[0]


def test_links_are_not_shown(admin: Client, make: Make, app: Flask) -> None:
    admin.call("POST", f"/api/users/{make(User).id}/reset-password", expect=202)
    answer = admin.send("GET", "/api/mails")
    assert b"token" not in answer.data
    with app.app_context():
        (stored,) = db.session.execute(sa.select(Outbox.__table__)).all()
    assert stored.content is not None
    assert b"reset-password" not in b"".join(str(value).encode() for value in stored)
    assert b"reset-password" not in stored.content


def test_old_mails_are_deleted(admin: Client, app: Flask) -> None:
    post(app, "a@example.com", "b@example.com", "c@example.com")
    with app.app_context():
        ended = sa.update(Outbox.__table__).where(Outbox.recipient != "c@example.com")
        db.session.execute(ended.values(concluded_at=utcnow() - RETENTION + timedelta(minutes=1)))
        older = ended.where(Outbox.recipient == "a@example.com").values(concluded_at=utcnow() - RETENTION)
        db.session.execute(older)
        db.session.commit()
        outbox.delete_old()
    assert [mail["recipient"] for mail in listed(admin)] == ["c@example.com", "b@example.com"]
