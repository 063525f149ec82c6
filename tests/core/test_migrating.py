"""Migrations while the platform works: one at a time, and none that others wait for long."""

import threading
import time
from unittest.mock import patch

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from app.core.db.schema import MIGRATIONS
from app.core.db.unit_of_work import db
from migrations import running
from tests.backends import on_servers
from tests.client import Client
from tests.sessions import ADVISORY, TABLE, is_waiting
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = on_servers


def test_a_migration_gives_way_to_a_long_transaction(app: Flask, user: Client) -> None:
    """Requests that queue behind it are answered, and it is done once the transaction has ended."""
    attempts = []

    def alter() -> None:
        attempts.append(time.monotonic())
        with connection.begin():
            connection.execute(sa.text("ALTER TABLE datacenters ADD COLUMN while_others_read integer"))

    def migrate() -> None:
        with app.app_context(), patch.object(running, "PAUSE_SECONDS", 0.05):
            running.without_blocking(connection, alter)

    with app.app_context():
        engine = db.engine
    with engine.connect() as connection:
        thread = threading.Thread(target=migrate)
        with engine.connect() as other:
            try:
                other.execute(sa.text("SELECT count(*) FROM datacenters"))
                thread.start()
                wait_until(lambda: is_waiting(engine, TABLE))
                user.call("GET", "/api/datacenters")
                wait_until(lambda: len(attempts) > 1)
            finally:
                other.rollback()
                thread.join(TIMEOUT_SECONDS)
        connection.execute(sa.text("ALTER TABLE datacenters DROP COLUMN while_others_read"))
        connection.commit()


def test_migrators_take_turns(app: Flask) -> None:
    def migrate() -> None:
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)

    with app.app_context():
        engine = db.engine
    second = threading.Thread(target=migrate)
    with running.one_at_a_time(engine):
        second.start()
        wait_until(lambda: is_waiting(engine, ADVISORY))
    second.join(TIMEOUT_SECONDS)
    assert not second.is_alive()
