"""The two pairs of database and cache that the platform runs on, each for this run of the tests alone.

Tests commit for real, because triggers, races and what happens after a commit are part of what is tried. So a
backend can be emptied, in a few milliseconds, instead of rolled back.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
import redis
import sqlalchemy as sa
from flask import Flask

import config
from app.core.cache import generations
from app.core.db.unit_of_work import db

DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
# Of several runs at once, each has a database and a part of Redis of its own.
RUN = f"{os.environ.get('PYTEST_XDIST_WORKER', 'run')}_{os.getpid()}"


class Missing(Exception):
    """A service does not answer; the text says which, and how to start it."""


class Backend(Protocol):
    """Where the application keeps its data during the tests."""

    name: str

    def settings(self) -> config.Config: ...

    def keep_as_empty(self, app: Flask) -> None:
        """Note the state after the migrations, which is what `empty` comes back to."""

    def empty(self, app: Flask) -> None: ...

    def drop(self) -> None: ...


class Sqlite:
    """A file, with the cache in the process. Emptied by putting the migrated file in its place again."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.path = directory / "test.db"
        self.uploads = directory / "uploads"
        self._migrated = b""

    def settings(self) -> config.Config:
        return testing(f"sqlite:///{self.path}", None, self.uploads)

    def keep_as_empty(self, app: Flask) -> None:
        self._close(app)
        self._migrated = self.path.read_bytes()

    def empty(self, app: Flask) -> None:
        self._close(app)
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()
        self.path.write_bytes(self._migrated)

    def drop(self) -> None:
        self.path.unlink()

    @staticmethod
    def _close(app: Flask) -> None:
        with app.app_context():
            # The last connection that closes brings what is in the write-ahead log into the file.
            db.engine.dispose()


class Postgresql:
    """A database of its own on the server of TEST_DATABASE_URL, and a prefix of its own in TEST_REDIS_URL."""

    name = "postgresql"

    def __init__(self, directory: Path) -> None:
        self.uploads = directory / "uploads"
        self.url = sa.make_url(DATABASE_URL)
        self.url = self.url.set(database=f"{self.url.database}_{RUN}")
        require_services()
        with _connect(sa.make_url(DATABASE_URL)) as server:
            name = self.url.database
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            # From template0, in a locale that orders text by its code points, as SQLite does.
            server.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'".encode())
            # Deadlocks are made on purpose, and nobody wants to wait a second for each.
            server.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '50ms'".encode())
        self._cleaner = _connect(self.url)
        # No trigger and no foreign key is asked while the tables are emptied.
        self._cleaner.execute("SET session_replication_role = replica; SET lock_timeout = '10s'")
        self._emptying = b""

    def settings(self) -> config.Config:
        return testing(self.url.render_as_string(hide_password=False), REDIS_URL, self.uploads)

    def keep_as_empty(self, app: Flask) -> None:
        tables = self._cleaner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            # What the migrations wrote, once.
            "AND tablename NOT IN ('alembic_version', 'audit_origin')"
        )
        self._emptying = "; ".join(f'DELETE FROM "{table}"' for (table,) in tables).encode()

    def empty(self, app: Flask) -> None:
        self._cleaner.execute(self._emptying)

    def drop(self) -> None:
        self._cleaner.close()
        with _connect(sa.make_url(DATABASE_URL)) as server:
            server.execute(f'DROP DATABASE "{self.url.database}" WITH (FORCE)'.encode())


on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
"""For what only PostgreSQL with Redis has: connections that die, deadlocks, a cache that is away."""

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

BACKENDS: Mapping[str, type[Sqlite | Postgresql]] = {kind.name: kind for kind in (Sqlite, Postgresql)}


def testing(database_url: str, redis_url: str | None, uploads: Path) -> config.Config:
    """The settings of the tests on this database and cache; nothing comes from the environment."""
    kept = {"UPLOAD_DIR": str(uploads), "AUDIT_CHECKPOINTS": str(uploads.parent / "checkpoints")}
    settings = config.TestingConfig.from_environment(kept)
    return replace(settings, SQLALCHEMY_DATABASE_URI=database_url, REDIS_URL=redis_url, LOG_LEVEL="ERROR")


def own_cache(app: Flask) -> None:
    """Keep what an application caches apart from what another run of the tests does in the same Redis."""
    app.extensions["cache"][generations.cache].key_prefix = f"itam-{RUN}:"


def require_services() -> None:
    """Raise Missing unless PostgreSQL and Redis both answer."""
    try:
        _connect(sa.make_url(DATABASE_URL)).close()
    except psycopg.OperationalError:
        raise Missing(
            f"PostgreSQL does not answer at {sa.make_url(DATABASE_URL)}: start it (docker "
            "compose -f compose.test.yaml up -d) or set TEST_DATABASE_URL"
        ) from None
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
    except redis.RedisError:
        raise Missing(
            f"Redis does not answer at {REDIS_URL}: start it (docker compose -f compose.test.yaml "
            "up -d) or set TEST_REDIS_URL"
        ) from None


def _connect(url: sa.URL) -> psycopg.Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    # The name keeps the tests of dead connections from killing this one.
    return psycopg.connect(plain, autocommit=True, connect_timeout=3, application_name="tests")
