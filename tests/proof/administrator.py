"""An attacker with all rights in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db


@contextmanager
def as_administrator(app: Flask) -> Iterator[Any]:
    """A connection with all rights in the database, on which no trigger fires."""
    without_triggers = {"postgresql": _replica, "sqlite": _dropped_from_file, "mariadb": _dropped_and_created}
    with app.app_context(), db.engine.connect() as connection, without_triggers[connection.dialect.name](connection):
        yield connection
        connection.commit()


@contextmanager
def _replica(connection: sa.Connection) -> Iterator[None]:
    connection.execute(sa.text("SET session_replication_role = replica"))
    yield
    connection.execute(sa.text("SET session_replication_role = DEFAULT"))
    connection.commit()


@contextmanager
def _dropped_from_file(connection: sa.Connection) -> Iterator[None]:
    """The next test has the file as it was."""
    for (name,) in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
        connection.execute(sa.text(f"DROP TRIGGER {name}"))
    yield


@contextmanager
def _dropped_and_created(connection: sa.Connection) -> Iterator[None]:
    query = (
        "SELECT trigger_name, action_timing, event_manipulation, event_object_table, action_statement "
        "FROM information_schema.triggers WHERE trigger_schema = database() ORDER BY event_object_table, action_order"
    )
    triggers = connection.execute(sa.text(query)).all()
    for name, *_ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    # Each of these statements ends the transaction.
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        for name, timing, event, source, action in triggers:
            written = f"CREATE TRIGGER {name} {timing} {event} ON {source} FOR EACH ROW {action}"
            connection.exec_driver_sql(written.replace("%", "%%"))
