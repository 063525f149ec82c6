"""Mail: written in the transaction that it is about, delivered after the commit, and never twice."""

from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPResponseException

import sqlalchemy as sa
import structlog
from flask import Flask, current_app, render_template
from flask_mail import Message
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.column_types import Id
from app.core.db.models import Base
from app.core.db.unit_of_work import db, reading, writing
from app.core.jobs import queue
from app.core.jobs import runner as jobs
from app.core.mail import transport
from app.core.values import Choice, utcnow

log = structlog.get_logger()

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720))
"""How long to wait after the first, second, … attempt that failed; after the last one the mail is given up."""


class MailState(Choice):
    QUEUED = "queued"
    # Handed to the server, whose answer is not known: sending it again might double it.
    SENDING = "sending"
    SENT = "sent"
    LOGGED = "logged"
    FAILED = "failed"


class Outbox(Base):
    """A mail to be sent. What it says is forgotten once it is: it may hold a link that opens something."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    recipient: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str | None] = mapped_column(sa.Text)
    html: Mapped[str | None] = mapped_column(sa.Text)
    state: Mapped[MailState]
    attempts: Mapped[int]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    concluded_at: Mapped[datetime | None]

    __table_args__ = ({"sqlite_autoincrement": True},)


outbox = Outbox.__table__


def post(recipient: str, subject: str, template: str, **facts: object) -> None:
    """Send a mail, rendered from `mail/<template>.txt` and `.html`, once the current transaction has committed."""
    facts["public_url"] = current_app.config["PUBLIC_URL"]
    letter = Outbox(
        recipient=recipient,
        subject=subject,
        text=render_template(f"mail/{template}.txt", **facts),
        html=render_template(f"mail/{template}.html", **facts),
        state=MailState.QUEUED,
        attempts=0,
        created_at=utcnow(),
    )
    db.session.add(letter)
    db.session.flush()
    queue.enqueue("mail", letter.id)


def register_jobs(runner: jobs.Runner) -> None:
    # A mail server that hangs must not keep an import waiting.
    runner.register("mail", deliver, _give_up, lane="mail")


def deliver(letter_id: int) -> None:
    """Hand a mail to the server, unless that has been done; raises Later where another attempt is worth it."""
    with reading():
        letter = db.session.execute(sa.select(outbox).where(outbox.c.id == letter_id)).one()
    if letter.state is MailState.SENDING:
        _conclude(letter_id, MailState.FAILED, "The process died while the server had the mail.")
    if letter.state is not MailState.QUEUED:
        return
    if not current_app.config["MAIL_SERVER"]:
        log.info("mail_not_sent", recipient=letter.recipient, subject=letter.subject, text=letter.text)
        _conclude(letter_id, MailState.LOGGED)
        return
    message = Message(letter.subject, [letter.recipient], body=letter.text, html=letter.html)
    try:
        transport.mailer.send_once(message, before_handing_over=lambda: _set(letter_id, state=MailState.SENDING))
    except (OSError, SMTPException) as error:
        _count_failure(letter_id, letter.attempts, error)
    else:
        _conclude(letter_id, MailState.SENT)


def _count_failure(letter_id: int, earlier: int, error: Exception) -> None:
    """Put the mail off, or give it up where it might be doubled or has been tried often enough."""
    log.warning("mail_failed", mail=letter_id, attempt=earlier + 1, error=repr(error))
    with reading():
        state = db.session.scalar(sa.select(outbox.c.state).where(outbox.c.id == letter_id))
    # The server has all of it and did not say what became of it: whoever sends again may double it.
    in_doubt = state is MailState.SENDING and not isinstance(error, SMTPResponseException)
    if in_doubt or _is_final(error) or earlier >= len(PAUSES):
        _conclude(letter_id, MailState.FAILED, repr(error))
        return
    _set(letter_id, state=MailState.QUEUED, attempts=earlier + 1, error=repr(error)[:255])
    raise jobs.Later(PAUSES[earlier])


def _is_final(error: Exception) -> bool:
    """Whether the server will never take this mail; a refused login or sender is a mistake that somebody corrects."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, SMTPDataError) and error.smtp_code >= 500


def _give_up(letter_id: int, reason: str) -> None:
    _update(letter_id, **_concluded(MailState.FAILED, reason))


def _conclude(letter_id: int, state: MailState, error: str | None = None) -> None:
    with writing():
        _update(letter_id, **_concluded(state, error))


def _concluded(state: MailState, error: str | None) -> dict[str, object]:
    return {"state": state, "error": error and error[:255], "concluded_at": utcnow(), "text": None, "html": None}


def _set(letter_id: int, **values: object) -> None:
    with writing():
        _update(letter_id, **values)


def _update(letter_id: int, **values: object) -> None:
    db.session.execute(sa.update(outbox).where(outbox.c.id == letter_id).values(values))


def init_app(app: Flask) -> None:
    transport.init_app(app)
