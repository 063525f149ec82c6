"""A PostgreSQL database for the duration of a benchmark, with the application on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import flask_migrate
import psycopg
import sqlalchemy as sa
from flask import Flask
from psycopg import sql

from app import create_app
from app.cli import prepare_database
from app.core import gc_tuning
from app.core.db.schema import MIGRATIONS
from app.core.db.unit_of_work import db
from config import TestingConfig

USERNAME = "admin"
PASSWORD = "only-for-benchmarks"


@dataclass(frozen=True)
class Scratch:
    """A database and an application in this process, without Redis."""

    app: Flask
    url: sa.URL
    _server: psycopg.Connection
    _migrated: sa.URL

    def renew(self) -> None:
        """Replace the database by a fresh one, as migrations and the first start leave it."""
        self.release()
        _drop(self._server, self.url)
        _create(self._server, self.url, self._migrated)

    def release(self) -> None:
        """Close the application's connections."""
        with self.app.app_context():
            db.engine.dispose()

    def allow_unrecorded(self) -> None:
        """Allow rows without audit records, and audit records without MACs."""
        with self.connect() as connection:
            connection.execute("ALTER TABLE audit_logs ALTER COLUMN mac DROP NOT NULL")
            triggers = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE '%\\_recorded'"
            for table, trigger in connection.execute(triggers).fetchall():
                names = sql.Identifier(table), sql.Identifier(trigger)
                connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*names))

    def connect(self) -> psycopg.Connection:
        """A psycopg connection in autocommit."""
        return _connect(self.url)


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Create a database on the server of BENCH_DATABASE_URL or TEST_DATABASE_URL, and drop it at the end."""
    server_url = os.environ.get("BENCH_DATABASE_URL") or os.environ.get("TEST_DATABASE_URL")
    base = sa.make_url(server_url or "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    url = base.set(database=f"bench_{os.getpid()}")
    migrated = url.set(database=f"{url.database}_migrated")
    with _connect(base) as server, TemporaryDirectory(prefix="bench-") as uploads:
        try:
            _create(server, url)
            database = Scratch(application(url, uploads), url, server, migrated)
            database.release()
            _create(server, migrated, url)
            yield database
            database.release()
        finally:
            _drop(server, url)
            _drop(server, migrated)


def application(url: sa.URL, uploads: str) -> Flask:
    """The platform on a migrated database with its first administrator."""
    address = url.render_as_string(hide_password=False)
    settings = {"DATABASE_URL": address, "UPLOAD_DIR": uploads}
    account = {"ADMIN_USERNAME": USERNAME, "ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "ERROR"}
    app = create_app(TestingConfig({**settings, **account}))
    with app.app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
    prepare_database(app)
    gc_tuning.freeze()
    return app


def _connect(url: sa.URL) -> psycopg.Connection:
    return psycopg.connect(plain(url), autocommit=True, connect_timeout=3)


def plain(url: sa.URL) -> str:
    """The URL in the form that psycopg takes."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _create(server: psycopg.Connection, url: sa.URL, template: sa.URL | None = None) -> None:
    names = str(url.database), str(template.database) if template else "template0"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}" + ("" if template else " LOCALE 'C.UTF-8'"))
    server.execute(statement.format(*map(sql.Identifier, names)))


def _drop(server: psycopg.Connection, url: sa.URL) -> None:
    name = sql.Identifier(str(url.database))
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
