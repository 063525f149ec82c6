"""Transactional outbox: a mail is stored with the change that causes it, sent after the commit, and never twice."""

import base64
import hmac
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPResponseException

import orjson
import sqlalchemy as sa
import structlog
from cryptography.fernet import Fernet, InvalidToken
from flask import Flask, current_app, render_template
from flask_mail import Message as Email
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.db.unit_of_work import db, reading, writing
from app.core.jobs import queue
from app.core.jobs import runner as jobs
from app.core.mail import transport
from app.core.messages import LANGUAGES, Message, localize
from app.core.values import Choice, utcnow

log = structlog.get_logger()

RETRY_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720))
"""Delay after the first, second, … failed attempt; after the last one, the mail has failed."""

RETENTION = timedelta(days=90)
"""How long administrators see what became of a mail."""
CLEANUP_SECONDS = 600.0


class MailState(Choice):
    QUEUED = "queued"
    # The server has the data, but has not confirmed it: a retry might send the mail twice.
    SENDING = "sending"
    SENT = "sent"
    LOGGED = "logged"
    FAILED = "failed"


class Outbox(Base):
    """A mail. It may contain a link that grants access, so its content is encrypted, and deleted once it is sent."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    recipient: Mapped[str]
    subject: Mapped[str]
    content: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    state: Mapped[MailState]
    attempts: Mapped[int]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    concluded_at: Mapped[datetime | None]

    __table_args__ = ({"sqlite_autoincrement": True},)


outbox = Outbox.__table__


def post(recipient: str, language: Choice | None, subject: Message, template: str, **facts: object) -> None:
    """Send a mail once the current transaction has committed, in a language of `LANGUAGES`, else in English.

    It is rendered from `mail/<language>/<template>.txt` and `.html`.
    """
    code = LANGUAGES[0] if language is None else language.value
    facts = localize({**facts, "public_url": current_app.config["PUBLIC_URL"]}, code)
    content = {kind: render_template(f"mail/{code}/{template}.{kind}", **facts) for kind in ("txt", "html")}
    # Not by the ORM: it is also called while a flush is under way.
    message = sa.insert(outbox).values(
        recipient=recipient,
        subject=subject.to(code),
        content=_cipher().encrypt(orjson.dumps(content)),
        state=MailState.QUEUED,
        attempts=0,
        created_at=utcnow(),
    )
    queue.enqueue("mail", db.session.execute(message.returning(outbox.c.id)).scalar_one())


def decrypt(content: bytes) -> dict[str, str]:
    """The text of a mail by its kind, `txt` and `html`; raises InvalidToken under another SECRET_KEY."""
    texts: dict[str, str] = orjson.loads(_cipher().decrypt(content))
    return texts


def _cipher() -> Fernet:
    key = hmac.digest(current_app.config["SECRET_KEY"].encode(), b"outbox", "sha256")
    return Fernet(base64.urlsafe_b64encode(key))


def register_jobs(runner: jobs.Runner) -> None:
    # A lane of its own: a mail server that hangs must not delay imports.
    runner.register("mail", deliver, _give_up, lane="mail")
    runner.repeat("old mails", delete_old, every=CLEANUP_SECONDS)


def deliver(message_id: int) -> None:
    """Send a queued mail; raises Later if it is to be retried."""
    with reading():
        message = db.session.execute(sa.select(outbox).where(outbox.c.id == message_id)).one()
    if message.state is MailState.SENDING:
        ended = "The process ended before the server had confirmed the mail."
        _conclude(message_id, MailState.FAILED, ended, attempts=message.attempts + 1)
    if message.state is not MailState.QUEUED:
        return
    try:
        content = decrypt(message.content)
    except InvalidToken:
        _conclude(message_id, MailState.FAILED, "The mail was encrypted under another SECRET_KEY.")
        return
    if not current_app.config["MAIL_SERVER"]:
        # The text may have a link that grants access. Developers need it; a log in production is kept and copied.
        text = {} if current_app.config["FLASK_ENV"] == "production" else {"text": content["txt"]}
        log.info("mail_not_sent", recipient=message.recipient, subject=message.subject, **text)
        _conclude(message_id, MailState.LOGGED)
        return
    email = Email(message.subject, [message.recipient], body=content["txt"], html=content["html"])
    try:
        transport.mailer.send_once(email, before_data=lambda: _set(message_id, state=MailState.SENDING))
    except Exception as error:  # noqa: BLE001 - whatever stops one mail is recorded with it, where people look
        _record_failure(message_id, message.attempts, error)
    else:
        _conclude(message_id, MailState.SENT, attempts=message.attempts + 1)


def _record_failure(message_id: int, failures: int, error: Exception) -> None:
    """Schedule a retry, or let the mail fail if it might be sent twice or has no retries left."""
    log.warning("mail_failed", mail=message_id, attempt=failures + 1, error=repr(error))
    with reading():
        state = db.session.scalar(sa.select(outbox.c.state).where(outbox.c.id == message_id))
    # The server has the data but sent no reply: it may have delivered the mail.
    is_unconfirmed = state is MailState.SENDING and not isinstance(error, SMTPResponseException)
    if is_unconfirmed or _is_final(error) or failures >= len(RETRY_DELAYS):
        _conclude(message_id, MailState.FAILED, repr(error), attempts=failures + 1)
        return
    _set(message_id, state=MailState.QUEUED, attempts=failures + 1, error=repr(error)[:255])
    raise jobs.Later(RETRY_DELAYS[failures])


def _is_final(error: Exception) -> bool:
    """Whether this mail is refused for good. A refused login or sender can be corrected by the operator."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    if isinstance(error, SMTPDataError):
        return error.smtp_code >= 500
    return isinstance(error, UnicodeError)  # an address that cannot be encoded


def _give_up(message_id: int, reason: str) -> None:
    _update(message_id, **_concluded(MailState.FAILED, reason))


def _conclude(message_id: int, state: MailState, error: str | None = None, **attempts: int) -> None:
    with writing():
        _update(message_id, **_concluded(state, error), **attempts)


def _concluded(state: MailState, error: str | None) -> dict[str, object]:
    return {"state": state, "error": error and error[:255], "concluded_at": utcnow(), "content": None}


def delete_old() -> None:
    """Delete the mails that were concluded before RETENTION."""
    with writing():
        db.session.execute(sa.delete(outbox).where(outbox.c.concluded_at < utcnow() - RETENTION))


def _set(message_id: int, **values: object) -> None:
    with writing():
        _update(message_id, **values)


def _update(message_id: int, **values: object) -> None:
    db.session.execute(sa.update(outbox).where(outbox.c.id == message_id).values(values))


def init_app(app: Flask) -> None:
    transport.init_app(app)
