"""A user who logs in from different addresses, and the mail that follows."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.jobs import queue
from app.core.mail.outbox import Outbox
from app.core.values import utcnow
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.factories import Make
from tests.openapi import Document

HOME, AWAY = "203.0.113.5", "198.51.100.7"


class Traveller:
    """A user who logs in from any address."""

    def __init__(self, app: Flask, document: Document, user: User) -> None:
        self.app = app
        self.user = user
        self.client = Client(app, document)

    def log_in(self, address: str, *, device: str = "Firefox") -> None:
        self.client.call(
            "POST",
            "/api/auth/login",
            json={"username": self.user.username, "password": PASSWORD},
            environ_base={"REMOTE_ADDR": address},
            headers={"User-Agent": device},
        )

    def messages(self) -> list[Any]:
        with self.app.app_context():
            return list(db.session.execute(sa.select(Outbox.__table__)).all())

    def make_due(self) -> None:
        with self.app.app_context():
            db.session.execute(sa.update(queue.Job.__table__).values(due_at=utcnow()))
            db.session.commit()


Travel = Callable[..., Traveller]


@pytest.fixture
def travel(build_app: Callable[..., Flask], document: Document, make: Make) -> Travel:
    def travel(port: int | None, **settings: Any) -> Traveller:
        mail = {} if port is None else {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port}
        app = build_app(**mail, **settings)
        return Traveller(app, document, make(User, username="traveller", email="t@example.com"))

    return travel
