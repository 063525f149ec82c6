"""Databases of a benchmark on MariaDB."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pymysql
import pymysql.connections
import sqlalchemy as sa
from pymysql.cursors import Cursor

from app.containers.models import HostPort
from app.core.db.dialects.mariadb.connections import engine_options
from app.core.db.dialects.mariadb.servers import MARIADB
from app.core.db.search.declaration import TABLE
from bench.scratch.base import Scratch, Stored, application, migrate

FILLED_BY_TRIGGERS = (TABLE, HostPort.__tablename__)
ROWS_A_STATEMENT = 1000
DROP_SECONDS = 60
"""How long to wait for the tables: the server goes on with a query that the platform has left."""


@dataclass(frozen=True)
class MariadbScratch(Scratch):
    """A database of MariaDB."""

    name = "mariadb"
    title = "MariaDB"
    bulk_write = "INSERT"

    def renew(self) -> None:
        """Create the database anew: MariaDB cannot copy one."""
        self.release()
        with _connect(self.url.set(database=None)) as server:
            _run(server, f"DROP DATABASE `{self.url.database}`")
            _create(server, self.url)
        migrate(self.app)
        self.release()

    def allow_unrecorded(self) -> None:
        with self.connect() as connection:
            _run(connection, "ALTER TABLE audit_logs MODIFY mac VARCHAR(73) NULL")
            _drop_triggers(connection, "%\\_recorded")

    def connect(self) -> pymysql.connections.Connection:
        return _connect(self.url)

    def analyze(self) -> None:
        with self.connect() as connection:
            tables = _run(
                connection,
                "SELECT table_name FROM information_schema.tables WHERE table_schema = database() "
                "AND table_type = 'BASE TABLE'",
            )
            _run(connection, f"ANALYZE TABLE {', '.join(f'`{table}`' for (table,) in tables)}")

    def stored_rows(self, tables: Sequence[sa.Table]) -> list[Stored]:
        """INSERTs of many rows, those of tables that triggers fill among them."""
        with self.connect() as connection:
            names = [*(table.name for table in tables), *FILLED_BY_TRIGGERS]
            stored = [_stored(connection, name) for name in names]
        return [one for one in stored if one.parts]

    def write_rows(self, stored: Sequence[Stored]) -> float:
        """Send the statements; no trigger is left."""
        with self.connect() as connection:
            _drop_triggers(connection, "%")
            for one in reversed(stored):
                _run(connection, f"DELETE FROM `{one.table}`")
            began = time.perf_counter()
            connection.begin()
            for one in stored:
                for part in one.parts:
                    connection.query(part)
            connection.commit()
            return time.perf_counter() - began

    @property
    def bare_options(self) -> Mapping[str, Any]:
        return _options(self.url)

    def described(
        self, connection: pymysql.connections.Connection, statement: str, values: Any
    ) -> tuple[str, list[str]]:
        with connection.cursor() as cursor:
            text: str = cursor.mogrify(statement, values)
            cursor.execute(text)
            return text, [column[0] for column in cursor.description or ()]

    def backends(self, connection: pymysql.connections.Connection) -> list[Path]:
        """The server has a thread for each connection."""
        query = (
            "SELECT tid FROM information_schema.processlist WHERE db = database() AND id <> connection_id() AND tid > 0"
        )
        return [Path(f"/proc/{_process_of(thread)}/task/{thread}") for (thread,) in _run(connection, query)]


@contextmanager
def scratch() -> Iterator[MariadbScratch]:
    """A database on the server of BENCH_MYSQL_URL or TEST_MYSQL_URL, dropped at the end."""
    server_url = os.environ.get("BENCH_MYSQL_URL") or os.environ.get("TEST_MYSQL_URL")
    base = sa.make_url(server_url or "mysql+pymysql://root@127.0.0.1:3306/test")
    url = base.set(database=f"bench_{os.getpid()}")
    with closing(_connect(base.set(database=None))) as server, TemporaryDirectory(prefix="bench-") as uploads:
        try:
            _create(server, url)
            database = MariadbScratch(application(url, uploads), url)
            yield database
            database.release()
        finally:
            _run(server, f"DROP DATABASE IF EXISTS `{url.database}`")


def _options(url: sa.URL) -> dict[str, Any]:
    """How PyMySQL connects: as the platform does, but for how long a statement may take, and wait for a table."""
    return {
        "host": url.host,
        "port": url.port or 3306,
        "user": url.username,
        "password": url.password or "",
        "database": url.database,
        "charset": "utf8mb4",
        "collation": MARIADB.collation,
        "sql_mode": MARIADB.sql_mode,
        "init_command": f"{MARIADB.settings}, {MARIADB.limited(0)}, lock_wait_timeout = {DROP_SECONDS}",
        "autocommit": True,
    }


def _connect(url: sa.URL) -> pymysql.connections.Connection:
    values = engine_options()["connect_args"]["conv"]
    return pymysql.connect(**_options(url), conv=values, cursorclass=Cursor, connect_timeout=3)


def _create(server: pymysql.connections.Connection, url: sa.URL) -> None:
    _run(server, f"CREATE DATABASE `{url.database}` CHARACTER SET utf8mb4")


def _run(connection: pymysql.connections.Connection, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
    """The rows that a statement returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return tuple(cursor.fetchall())


def _drop_triggers(connection: pymysql.connections.Connection, names: str) -> None:
    query = "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() AND trigger_name"
    for (name,) in _run(connection, f"{query} LIKE %s ESCAPE '\\'", names):
        _run(connection, f"DROP TRIGGER `{name}`")


def _stored(connection: pymysql.connections.Connection, table: str) -> Stored:
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = database() AND table_name = %s "
        "AND is_generated = 'NEVER' ORDER BY ordinal_position"
    )
    columns = [name for (name,) in _run(connection, query, table)]
    names = ", ".join(f"`{name}`" for name in columns)
    rows = iter(_run(connection, f"SELECT {names} FROM `{table}`"))
    parts = []
    marks = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        while batch := list(islice(rows, ROWS_A_STATEMENT)):
            statement = f"INSERT INTO `{table}` ({names}) VALUES {', '.join([marks] * len(batch))}"
            parts.append(cursor.mogrify(statement, list(chain.from_iterable(batch))).encode())
    return Stored(table, columns, parts)


def _process_of(thread: int) -> int | None:
    """The process of a thread; None if it is not on this machine."""
    try:
        lines = Path(f"/proc/{thread}/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("Tgid"))
