"""The interface of a database of a benchmark, and the application on it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from app import create_app
from app.cli import prepare_database
from app.core import gc_tuning
from app.core.db.schema import MIGRATIONS
from app.core.db.unit_of_work import db
from config import TestingConfig

USERNAME = "admin"
PASSWORD = "only-for-benchmarks"


@dataclass(frozen=True)
class Stored:
    """The rows of a table as its server takes them, without work for the client."""

    table: str
    columns: Sequence[str]
    parts: Sequence[bytes]


@dataclass(frozen=True)
class Scratch(ABC):
    """A database and an application in this process, without Redis."""

    name: ClassVar[str]
    title: ClassVar[str]
    bulk_write: ClassVar[str]
    """How `write_rows` writes."""

    app: Flask
    url: sa.URL

    @abstractmethod
    def renew(self) -> None:
        """Replace the database by a fresh one, as migrations and the first start leave it."""

    def release(self) -> None:
        """Close the application's connections."""
        with self.app.app_context():
            db.engine.dispose()

    @abstractmethod
    def allow_unrecorded(self) -> None:
        """Allow rows without audit records, and audit records without MACs."""

    @abstractmethod
    def connect(self) -> Any:
        """A connection of the driver, in autocommit."""

    @abstractmethod
    def analyze(self) -> None:
        """Have the server count what its plans depend on."""

    @abstractmethod
    def stored_rows(self, tables: Sequence[sa.Table]) -> list[Stored]:
        """The rows of these tables, each table after those that it refers to, for `write_rows`."""

    @abstractmethod
    def write_rows(self, stored: Sequence[Stored]) -> float:
        """Replace the rows of the tables, and return the seconds of the writes, which are one transaction."""

    @property
    @abstractmethod
    def bare_options(self) -> Mapping[str, Any]:
        """How the bare function connects: values that JSON has."""

    @abstractmethod
    def described(self, connection: Any, statement: str, values: Any) -> tuple[str, list[str]]:
        """A query with its values in it, and the names of its columns."""

    @abstractmethod
    def backends(self, connection: Any) -> list[Path]:
        """The folders in /proc of what serves other connections to the database; none of them is there if the server is
        on another machine.
        """


def application(url: sa.URL, uploads: str) -> Flask:
    """The platform on a migrated database with its first administrator."""
    address = url.render_as_string(hide_password=False)
    # Checkpoints of an earlier benchmark would show that its log is gone.
    settings = {"DATABASE_URL": address, "UPLOAD_DIR": uploads, "AUDIT_CHECKPOINTS": f"{uploads}/checkpoints"}
    account = {"ADMIN_USERNAME": USERNAME, "ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "ERROR"}
    app = create_app(TestingConfig({**settings, **account}))
    migrate(app)
    gc_tuning.freeze()
    return app


def migrate(app: Flask) -> None:
    """Do on an empty database what the first start does."""
    with app.app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
    prepare_database(app)
