"""A second application on a SQLite file, by which a backup is written, verified and brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy as sa
from flask import Flask, current_app

from app.core.db import engines
from app.core.db.counters.declaration import TABLE as COUNTERS
from app.core.db.models import Base
from app.core.db.search.declaration import TABLE as SEARCH_ENTRIES
from app.core.db.unit_of_work import db

_OF_ITS_OWN_DATABASE = ("SQLALCHEMY_ENGINE_OPTIONS", "SQLALCHEMY_ENGINES")
DERIVED = (SEARCH_ENTRIES, COUNTERS)
"""Tables that are written anew from the others."""


def tables() -> list[sa.Table]:
    """The tables of a backup, each after those it refers to, without the derived ones."""
    return [table for table in Base.metadata.sorted_tables if table.name not in DERIVED]


@contextmanager
def opened(path: Path, checkpoints: Path) -> Iterator[Flask]:
    """An application, in its context, on a SQLite file with a folder of checkpoints; both are its own.

    Its keys are those of the current application. At the end all of its data is in the file alone.
    """
    settings = {name: value for name, value in current_app.config.items() if name not in _OF_ITS_OWN_DATABASE}
    settings |= {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{path}",
        "AUDIT_CHECKPOINTS": checkpoints,
        "REDIS_URL": None,
    }
    app: Flask = current_app.extensions["factory"](SimpleNamespace(**settings))
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            engines.close(db.engine)


def reading_connection() -> sa.Connection:
    """A connection of the current application on which each statement reads its own moment."""
    return db.engine.connect().execution_options(access="read")
