"""An attacker with all rights in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.core.db.dialects.mariadb.restoring import FLAG
from app.core.db.unit_of_work import db
from tests.mariadb import MAY_REST


def picked(query: str) -> str:
    """A query of one value as SQL of a statement that changes the same table, which MySQL reads in no other way."""
    return f"(SELECT * FROM ({query} LIMIT 1) AS picked)"


@contextmanager
def as_administrator(app: Flask) -> Iterator[Any]:
    """A connection with all rights in the database, on which no trigger fires."""
    without_triggers = {
        "postgresql": _replica,
        "sqlite": _dropped_from_file,
        "mariadb": _resting,
        "mysql": _resting,
    }
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
def _resting(connection: sa.Connection) -> Iterator[None]:
    """As for a restore, which updates no row: what demands a higher version is dropped, and created again."""
    query = (
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() "
        "AND trigger_name LIKE '%|_version' ESCAPE '|'"
    )
    names = connection.scalars(sa.text(query)).all()
    # As it was written: MySQL lists an action without the quotes that double others.
    triggers = [connection.exec_driver_sql(f"SHOW CREATE TRIGGER {name}").all()[0][2] for name in names]
    for name in names:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    connection.exec_driver_sql(f"SET {MAY_REST} = 1")
    # Each of those statements ended the transaction.
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql(f"INSERT INTO {FLAG} VALUES (1)")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"DELETE FROM {FLAG}")
        connection.commit()
        connection.exec_driver_sql(f"SET {MAY_REST} = NULL")
        for written in triggers:
            connection.exec_driver_sql(written.replace("%", "%%"))
