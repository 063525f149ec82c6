"""Databases of a benchmark on PostgreSQL."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.scratch.base import Scratch, Stored, application


@dataclass(frozen=True)
class PostgresqlScratch(Scratch):
    """A database of PostgreSQL, and a copy of it as it was at first."""

    name = "postgresql"
    title = "PostgreSQL"
    bulk_write = "COPY"

    _server: psycopg.Connection
    _migrated: sa.URL

    def renew(self) -> None:
        self.release()
        _drop(self._server, self.url)
        _create(self._server, self.url, self._migrated)

    def allow_unrecorded(self) -> None:
        with self.connect() as connection:
            connection.execute("ALTER TABLE audit_logs ALTER COLUMN mac DROP NOT NULL")
            triggers = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE '%\\_recorded'"
            for table, trigger in connection.execute(triggers).fetchall():
                names = sql.Identifier(table), sql.Identifier(trigger)
                connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*names))

    def connect(self) -> psycopg.Connection:
        return _connect(self.url)

    def analyze(self) -> None:
        with self.connect() as connection:
            connection.execute("VACUUM ANALYZE")

    def stored_rows(self, tables: Sequence[sa.Table]) -> list[Stored]:
        """Rows in the text format of COPY."""
        stored = []
        with self.connect() as connection:
            for table in tables:
                columns = [column.name for column in table.columns]
                with connection.cursor().copy(_copy(table.name, columns, "TO STDOUT")) as copy:
                    parts = [b"".join(bytes(part) for part in copy)]
                stored.append(Stored(table.name, columns, parts))
        return [one for one in stored if any(one.parts)]

    def write_rows(self, stored: Sequence[Stored]) -> float:
        """One COPY for each table."""
        self.allow_unrecorded()
        with self.connect() as connection:
            for one in reversed(stored):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(one.table)))
            began = time.perf_counter()
            with connection.transaction():
                for one in stored:
                    with connection.cursor().copy(_copy(one.table, one.columns, "FROM STDIN")) as copy:
                        for part in one.parts:
                            copy.write(part)
            return time.perf_counter() - began

    @property
    def bare_options(self) -> Mapping[str, Any]:
        return {"conninfo": plain(self.url), "options": "-c timezone=UTC -c jit=off"}

    def described(self, connection: psycopg.Connection, statement: str, values: Any) -> tuple[str, list[str]]:
        cursor = psycopg.ClientCursor(connection)
        if isinstance(values, Mapping):
            text = cursor.mogrify(statement, values)
        else:
            # The platform prepares statements with parameters `$1`.
            literals = [sql.Literal(value).as_string(connection) for value in values]
            text = re.sub(r"\$(\d+)", lambda number: literals[int(number[1]) - 1], statement)
        return text, [column.name for column in cursor.execute(text.encode()).description or ()]

    def backends(self, connection: psycopg.Connection) -> list[Path]:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        return [Path(f"/proc/{pid}") for (pid,) in connection.execute(query)]


@contextmanager
def scratch() -> Iterator[PostgresqlScratch]:
    """A database on the server of BENCH_DATABASE_URL or TEST_DATABASE_URL, dropped at the end."""
    server_url = os.environ.get("BENCH_DATABASE_URL") or os.environ.get("TEST_DATABASE_URL")
    base = sa.make_url(server_url or "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    url = base.set(database=f"bench_{os.getpid()}")
    migrated = url.set(database=f"{url.database}_migrated")
    with _connect(base) as server, TemporaryDirectory(prefix="bench-") as uploads:
        try:
            _create(server, url)
            database = PostgresqlScratch(application(url, uploads), url, server, migrated)
            database.release()
            _create(server, migrated, url)
            yield database
            database.release()
        finally:
            _drop(server, url)
            _drop(server, migrated)


def plain(url: sa.URL) -> str:
    """The URL in the form that psycopg takes."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _copy(table: str, columns: Sequence[str], direction: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) " + direction).format(sql.Identifier(table), names)


def _connect(url: sa.URL) -> psycopg.Connection:
    return psycopg.connect(plain(url), autocommit=True, connect_timeout=3)


def _create(server: psycopg.Connection, url: sa.URL, template: sa.URL | None = None) -> None:
    names = str(url.database), str(template.database) if template else "template0"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}" + ("" if template else " LOCALE 'C.UTF-8'"))
    server.execute(statement.format(*map(sql.Identifier, names)))


def _drop(server: psycopg.Connection, url: sa.URL) -> None:
    name = sql.Identifier(str(url.database))
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
