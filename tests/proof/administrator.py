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
    with app.app_context(), db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET session_replication_role = replica"))
        else:
            triggers = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            for (name,) in triggers.all():
                connection.execute(sa.text(f"DROP TRIGGER {name}"))
        yield connection
        connection.commit()
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET session_replication_role = DEFAULT"))
            connection.commit()
