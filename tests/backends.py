"""The databases and caches that the tests run on, with names of their own for each run and each xdist worker.

Tests commit for real, because triggers, races and after-commit actions are part of what is tested. So a backend is
emptied after each test, in a few milliseconds, instead of rolled back.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
import redis
import sqlalchemy as sa
from flask import Flask

import config
from app.core.db.unit_of_work import db

DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
RUN = (os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(4))[:8]
"""Eight random hexadecimal digits, the same in all xdist workers of a run: two checkouts never share a database."""
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


DEFAULT_PORTS = {"postgresql": 5432, "mariadb": 3306}
LEFT_OUT = "Left out: "
"""Begins the reason of a skipped test; the summary of a run repeats it."""


class Missing(Exception):
    """A service does not answer; the text says which, and how to start it."""


class Backend(Protocol):
    """A database and a cache for the application under test."""

    name: str

    @staticmethod
    def require() -> None:
        """Raise Missing unless its services answer."""

    def settings(self) -> config.Config: ...

    def keep_as_empty(self, app: Flask) -> None:
        """Remember the state after the migrations: `empty` restores it."""

    def empty(self, app: Flask) -> None: ...

    def drop(self) -> None: ...


class Sqlite:
    """A file, and a cache in the process. Emptied by writing the migrated file again."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.path = directory / "test.db"
        self.uploads = directory / "uploads"
        self._migrated = b""

    @staticmethod
    def require() -> None:
        """It needs no service."""

    def settings(self) -> config.Config:
        return testing(f"sqlite:///{self.path}", None, self.uploads, f"itam-{RUN}-{WORKER}")

    def keep_as_empty(self, app: Flask) -> None:
        self._close(app)
        with app.app_context():
            # No test cuts the power of the machine: none needs to wait for the disk at each commit.
            sa.event.listen(db.engine, "connect", lambda driver, _record: driver.execute("PRAGMA synchronous=OFF"))
        self._migrated = self.path.read_bytes()

    def empty(self, app: Flask) -> None:
        self._close(app)
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()
        self.path.write_bytes(self._migrated)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)

    @staticmethod
    def _close(app: Flask) -> None:
        with app.app_context():
            # Closing the last connection checkpoints the write-ahead log into the file.
            db.engine.dispose()


class Postgresql:
    """A database on the server of TEST_DATABASE_URL, and a key prefix in TEST_REDIS_URL."""

    name = "postgresql"

    def __init__(self, directory: Path) -> None:
        self.uploads = directory / "uploads"
        self.prefix = f"itam-{RUN}-{WORKER}"
        self.url = own_url(RUN)
        name = self.url.database
        self.require()
        with _server_alone() as server:
            drop_leftovers(server)
            # template0 and C.UTF-8: text is ordered by code points, as on SQLite.
            server.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'".encode())
            # Tests provoke deadlocks; with the default each would take a second.
            server.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '50ms'".encode())
            # As on SQLite, no commit waits for the disk.
            server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
            self._cleaner = _connect(self.url)
        # Triggers and foreign keys do not fire while the tables are emptied.
        self._cleaner.execute("SET session_replication_role = replica; SET lock_timeout = '10s'")
        self._emptying = b""

    @staticmethod
    def require() -> None:
        try:
            _connect(sa.make_url(DATABASE_URL)).close()
        except psycopg.OperationalError:
            raise Missing(
                f"PostgreSQL does not answer at {sa.make_url(DATABASE_URL)}: start it (docker "
                "compose -f compose.test.yaml up -d) or set TEST_DATABASE_URL"
            ) from None
        require_redis()

    def settings(self) -> config.Config:
        return testing(self.url.render_as_string(hide_password=False), REDIS_URL, self.uploads, self.prefix)

    def keep_as_empty(self, app: Flask) -> None:
        tables = self._cleaner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            # The migrations fill these two.
            "AND tablename NOT IN ('alembic_version', 'audit_origin')"
        )
        self._emptying = "; ".join(f'DELETE FROM "{table}"' for (table,) in tables).encode()

    def empty(self, app: Flask) -> None:
        self._cleaner.execute(self._emptying)

    def drop(self) -> None:
        with _server_alone() as server:
            self._cleaner.close()
            server.execute(f'DROP DATABASE "{self.url.database}" WITH (FORCE)'.encode())
        delete_keys(self.prefix)


def own_url(run: str) -> sa.URL:
    """The database of this run; a later run drops it if this one is killed."""
    url = sa.make_url(DATABASE_URL)
    return url.set(database=f"{url.database}_{run}_{WORKER}")


@contextmanager
def database(url: sa.URL, locale: str = "LOCALE 'C.UTF-8'") -> Iterator[None]:
    """Create a database of a locale, and drop it at the end."""
    with _server_alone() as server:
        server.execute(f"CREATE DATABASE \"{url.database}\" TEMPLATE template0 ENCODING 'UTF8' {locale}".encode())
        # Its connection says that this run lives.
        claim = _connect(url)
    yield
    with _server_alone() as server:
        claim.close()
        server.execute(f'DROP DATABASE "{url.database}" WITH (FORCE)'.encode())


def drop_leftovers(server: psycopg.Connection) -> None:
    """Drop the databases of killed runs, and delete what they left in Redis.

    A run that lives has a connection named "tests" to its database. Its process number would say less: it may
    belong to another container, or to a later process.
    """
    base = sa.make_url(DATABASE_URL).database
    names = server.execute(
        "SELECT datname FROM pg_database AS d WHERE NOT EXISTS "
        "(SELECT FROM pg_stat_activity WHERE datid = d.oid AND application_name = 'tests')"
    )
    for (name,) in names.fetchall():
        if match := re.fullmatch(rf"{re.escape(str(base))}_([0-9a-f]{{8}})_(main|gw\d+)", name):
            # FORCE: servers that the run started may have outlived it.
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            delete_keys(f"itam-{match[1]}-{match[2]}")


def delete_keys(prefix: str) -> None:
    with redis.Redis.from_url(REDIS_URL) as client:
        for key in client.scan_iter(f"{prefix}:*", count=1000):
            client.delete(key)


on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
"""For what depends on PostgreSQL, and for what depends on Redis and on no database."""

on_servers = pytest.mark.parametrize("backend", ["postgresql", "mariadb"], indirect=True)
"""For what a server of databases does otherwise than SQLite: row locks, deadlocks, lost connections."""

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def testing(database_url: str, redis_url: str | None, uploads: Path, redis_prefix: str) -> config.Config:
    """The settings of the tests on this database and cache; nothing comes from the environment."""
    return config.TestingConfig(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url or "",
            "REDIS_PREFIX": redis_prefix,
            "WORKERS": "1",
            "JOB_WORKERS": "0",
            "UPLOAD_DIR": str(uploads),
            "AUDIT_CHECKPOINTS": str(uploads.parent / "checkpoints"),
            "LOG_LEVEL": "ERROR",
        }
    )


def require_redis() -> None:
    """Raise Missing unless Redis answers."""
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
    except redis.RedisError:
        raise Missing(
            f"Redis does not answer at {REDIS_URL}: start it (docker compose -f compose.test.yaml "
            "up -d) or set TEST_REDIS_URL"
        ) from None


@contextmanager
def _server_alone() -> Iterator[psycopg.Connection]:
    """A connection to the server while no other run creates or drops databases.

    Otherwise it could take this run's database for a leftover: before the first connection to it, or after the last.
    """
    with _connect(sa.make_url(DATABASE_URL)) as server:
        server.execute("SELECT pg_advisory_lock(hashtext('test databases'))")
        yield server


def _connect(url: sa.URL) -> psycopg.Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    # Tests of lost connections terminate all but those of this name.
    return psycopg.connect(plain, autocommit=True, connect_timeout=3, application_name="tests")
