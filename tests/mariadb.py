"""The backend of MariaDB, and which tests run on it: support for it is being built."""

import os
import re
from pathlib import Path
from typing import Any

import pymysql
import pymysql.connections
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from tests.backends import RUN, WORKER, Missing, testing

MYSQL_URL = os.environ.get("TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test")

READY = frozenset(
    f"contract/test_{name}.py" for name in ("addresses", "attribute_filters", "bulk", "cursors", "guards", "name_order")
)
"""The files, below tests/, all of whose tests run on MariaDB too: few, that together use most of what is its own.

`--on-mariadb` runs any others on it.
"""

on_mariadb = pytest.mark.parametrize("backend", ["mariadb"], indirect=True)


def is_ready(path: Path) -> bool:
    """Whether the tests of a file run on MariaDB too."""
    return path.relative_to(Path(__file__).parent).as_posix() in READY


class Mariadb:
    """A database on the server of TEST_MYSQL_URL, and a cache in the process."""

    name = "mariadb"
    APPEND_ONLY = ("audit_logs", "audit_leaves", "audit_checkpoints", "audit_expected")
    """Tables that can only be emptied as a whole. The migrations fill audit_origin."""

    def __init__(self, directory: Path) -> None:
        self.uploads = directory / "uploads"
        base = sa.make_url(MYSQL_URL)
        self.url = base.set(drivername="mariadb+pymysql", database=f"{base.database}_{RUN}_{WORKER}")
        self._cleaner = self._connect(base)
        self._drop_leftovers(str(base.database))
        # As long as it is held, another run does not drop the database.
        self._run("SELECT GET_LOCK(%s, 0)", self.url.database)
        self._run(f"CREATE DATABASE `{self.url.database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
        self._run(f"USE `{self.url.database}`")
        self._run("SET foreign_key_checks = 0")
        self._tables: list[str] = []

    def settings(self) -> config.Config:
        settings = testing("sqlite://", None, self.uploads, f"itam-{RUN}-{WORKER}")
        # DATABASE_URL does not take it yet.
        settings.SQLALCHEMY_DATABASE_URI = self.url.render_as_string(hide_password=False)
        return settings

    def keep_as_empty(self, app: Flask) -> None:
        kept = ("alembic_version", "audit_origin", "text_letters", "text_pairs")
        tables = self._run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database() "
            "AND table_type = 'BASE TABLE' AND table_name NOT LIKE '%_no_truncate'"
        )
        # What deletions note is emptied last.
        self._tables = sorted(
            (table for (table,) in tables if table not in kept), key=lambda table: table == "audit_expected"
        )

    def empty(self, app: Flask) -> None:
        self._run("START TRANSACTION")
        full = [table for table in self._tables if self._run(f"SELECT 1 FROM `{table}` LIMIT 1")]
        for table in full:
            if table not in self.APPEND_ONLY:
                self._run(f"DELETE FROM `{table}`")
        self._run("COMMIT")
        for table in self.APPEND_ONLY:
            if self._run(f"SELECT 1 FROM `{table}` LIMIT 1"):
                self._run(f"TRUNCATE `{table}`")

    def drop(self) -> None:
        self._run(f"DROP DATABASE `{self.url.database}`")
        self._cleaner.close()

    def _drop_leftovers(self, base: str) -> None:
        for (name,) in self._run("SHOW DATABASES"):
            is_own = re.fullmatch(rf"{re.escape(base)}_[0-9a-f]{{8}}_(main|gw\d+)", name)
            if is_own and self._run("SELECT IS_FREE_LOCK(%s)", name)[0][0]:
                self._run(f"DROP DATABASE IF EXISTS `{name}`")

    def _run(self, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
        with self._cleaner.cursor() as cursor:
            cursor.execute(statement, values or None)
            return tuple(cursor.fetchall())

    @staticmethod
    def _connect(url: sa.URL) -> pymysql.connections.Connection:
        options = {"host": url.host, "port": url.port or 3306, "user": url.username, "password": url.password or ""}
        try:
            return pymysql.connect(**options, autocommit=True, connect_timeout=3, charset="utf8mb4")
        except pymysql.err.OperationalError:
            raise Missing(
                f"MariaDB does not answer at {url}: start it (docker compose -f compose.test.yaml up -d) "
                "or set TEST_MYSQL_URL"
            ) from None
