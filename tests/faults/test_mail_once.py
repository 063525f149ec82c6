"""A mail that the server may have is not sent again: its sender is killed, or gives up waiting for the answer."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.db.unit_of_work import db, writing
from app.core.jobs.queue import Job
from app.core.jobs.runner import runner_of
from app.core.mail import outbox, transport
from app.core.mail.outbox import MailState
from app.core.messages import tr
from app.core.values import utcnow
from tests.backends import REDIS_URL, Backend
from tests.conftest import BuildApp
from tests.features.auth.smtp_servers import Inbox, server
from tests.server import environment
from tests.threads import TIMEOUT_SECONDS


class LateInbox(Inbox):
    """Has the mail, and says so when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.has_mail = threading.Event()
        self.released = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        answer = await super().handle_DATA(server, session, envelope)
        self.has_mail.set()
        await asyncio.to_thread(self.released.wait, TIMEOUT_SECONDS)
        return answer


@contextmanager
def late_server() -> Iterator[tuple[LateInbox, int]]:
    inbox = LateInbox()
    with server(inbox) as port:
        try:
            yield inbox, port
        finally:
            inbox.released.set()


def queue_mail(app: Flask) -> None:
    with app.test_request_context(), writing():
        outbox.post("someone@example.com", None, tr("Subject"), "password_changed", username="x", time=utcnow())


def mails(app: Flask) -> list[MailState]:
    with app.app_context():
        return list(db.session.scalars(sa.select(outbox.outbox.c.state)))


def run_again(app: Flask) -> None:
    """Run what is due when all leases and delays are over."""
    with app.app_context():
        db.session.execute(sa.update(Job).values(due_at=utcnow(), lease_expires_at=utcnow()))
        db.session.commit()
    runner_of(app).run_pending()


def test_a_worker_that_is_killed_before_it_has_noted_the_answer(
    app: Flask, build_app: BuildApp, backend: Backend
) -> None:
    queue_mail(app)
    with late_server() as (inbox, port):
        environ = {"FLASK_APP": "run", "REDIS_URL": REDIS_URL, "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(port)}
        command = [sys.executable, "-m", "flask", "worker"]
        with subprocess.Popen(
            command, cwd=config.ROOT, env={**environment(backend.settings()), **environ}, stdout=subprocess.DEVNULL
        ) as worker:
            # As long as the start of the worker may take.
            assert inbox.has_mail.wait(10 * TIMEOUT_SECONDS)
            os.kill(worker.pid, signal.SIGKILL)
        inbox.released.set()
        assert mails(app) == [MailState.SENDING]
        run_again(build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port))
    assert (mails(app), len(inbox.received)) == ([MailState.FAILED], 1)


def test_a_server_whose_answer_comes_too_late(app: Flask, build_app: BuildApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REPLY_SECONDS", 0.5)
    queue_mail(app)
    with late_server() as (inbox, port):
        sender = build_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
        runner_of(sender).run_pending()
        inbox.released.set()
        run_again(sender)
    assert (mails(app), len(inbox.received)) == ([MailState.FAILED], 1)
