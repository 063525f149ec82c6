"""The backend of MariaDB, and databases of it that a test creates."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pymysql.connections
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.db.dialects.mariadb.restoring import FLAG
from config_parsers import MARIADB_DRIVER
from tests.backends import REDIS_URL, RUN, WORKER, Missing, delete_keys, require_redis, testing

MYSQL_URL = os.environ.get("TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
"""Of MariaDB, or of MySQL."""

MAY_REST = "@tests_may_rest"
"""The variable of a connection that may let the triggers rest, by a row in the table FLAG."""

on_mariadb = pytest.mark.parametrize("backend", ["mariadb"], indirect=True)


class Mariadb:
    """A database on the server of TEST_MYSQL_URL, and a key prefix in TEST_REDIS_URL."""

    name = "mariadb"

    def __init__(self, directory: Path) -> None:
        self.uploads = directory / "uploads"
        self.url = own_url(RUN)
        self.prefix = prefix_of(str(self.url.database))
        self._cleaner = connect(self.url)
        self.is_mysql = "MariaDB" not in self._cleaner.get_server_info()
        require_redis()
        drop_leftovers(self._cleaner)
        create(self._cleaner, self.url)
        run(self._cleaner, f"USE `{self.url.database}`")
        run(self._cleaner, "SET foreign_key_checks = 0")
        self._query = ""

    @staticmethod
    def require() -> None:
        connect(sa.make_url(MYSQL_URL)).close()
        require_redis()

    def settings(self) -> config.Config:
        return testing(self.url.render_as_string(hide_password=False), REDIS_URL, self.uploads, self.prefix)

    def keep_as_empty(self, app: Flask) -> None:
        # The migrations fill these.
        never_emptied = ("alembic_version", "audit_origin", "text_letters", "text_pairs")
        tables = run(
            self._cleaner,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database() "
            # On MySQL a sequence is a table.
            "AND table_type = 'BASE TABLE' AND table_name NOT LIKE '%_no_truncate' AND table_name NOT LIKE '%_id_seq'",
        )
        names = [name for (name,) in tables if name not in never_emptied]
        self._query = " UNION ALL ".join(
            f"SELECT '{name}' FROM DUAL WHERE EXISTS (SELECT 1 FROM `{name}`)" for name in names
        )
        # As a restore does, but without a change of the schema: to truncate the append-only tables takes 25 ms each.
        run(self._cleaner, f"DROP TRIGGER {FLAG}_refused")
        run(
            self._cleaner,
            f"CREATE TRIGGER {FLAG}_refused BEFORE INSERT ON {FLAG} FOR EACH ROW BEGIN IF {MAY_REST} IS NULL THEN "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Only a restore lets the triggers rest.'; END IF; END",
        )
        run(self._cleaner, f"SET {MAY_REST} = 1")

    def empty(self, app: Flask) -> None:
        full = {name for (name,) in run(self._cleaner, self._query)}
        deletions = [f"DELETE FROM `{name}`" for name in sorted(full - {"audit_expected"})]
        if deletions:
            self._cleaner.begin()
            try:
                for statement in (f"INSERT INTO {FLAG} VALUES (1)", *deletions, f"DELETE FROM {FLAG}"):
                    run(self._cleaner, statement)
            except pymysql.MySQLError:
                self._cleaner.rollback()
                raise
            self._cleaner.commit()
        if "audit_expected" in full:
            # Its trigger refuses to delete the notes of changes that a test has committed without a record.
            run(self._cleaner, "TRUNCATE audit_expected")

    def drop(self) -> None:
        run(self._cleaner, f"DROP DATABASE `{self.url.database}`")
        self._cleaner.close()
        delete_keys(self.prefix)


def own_url(run: str) -> sa.URL:
    """The database of this run; a later run drops it if this one is killed."""
    url = sa.make_url(MYSQL_URL)
    return url.set(drivername=MARIADB_DRIVER, database=f"{url.database}_{run}_{WORKER}")


def prefix_of(database: str) -> str:
    """The prefix of the keys in Redis that belong to a database."""
    return f"itam-mariadb-{database}"


@contextmanager
def database(url: sa.URL) -> Iterator[None]:
    """Create a database, and drop it at the end."""
    with closing(connect(url)) as server:
        create(server, url)
        yield
        run(server, f"DROP DATABASE `{url.database}`")


def create(server: pymysql.connections.Connection, url: sa.URL) -> None:
    """Create a database, which the runs of others leave alone as long as the connection is open.

    Of another character set, because what the migrations create must not depend on it.
    """
    run(server, "SELECT GET_LOCK(%s, 0)", url.database)
    run(server, f"CREATE DATABASE `{url.database}` CHARACTER SET latin1")


def drop_leftovers(server: pymysql.connections.Connection) -> None:
    """Drop the databases of killed runs, and delete what they left in Redis."""
    base = re.escape(str(sa.make_url(MYSQL_URL).database))
    for (name,) in run(server, "SHOW DATABASES"):
        is_own = re.fullmatch(rf"{base}_[0-9a-f]{{8}}_(main|gw\d+)", name)
        if is_own and run(server, "SELECT IS_FREE_LOCK(%s)", name)[0][0]:
            run(server, f"DROP DATABASE IF EXISTS `{name}`")
            delete_keys(prefix_of(name))


def run(server: pymysql.connections.Connection, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
    """The rows that a statement returns."""
    with server.cursor() as cursor:
        cursor.execute(statement, values or None)
        return tuple(cursor.fetchall())


def connect(url: sa.URL) -> pymysql.connections.Connection:
    """A connection to the server of a URL, in autocommit; raises Missing where it does not answer."""
    options = {"host": url.host, "port": url.port or 3306, "user": url.username, "password": url.password or ""}
    try:
        return pymysql.connect(**options, autocommit=True, connect_timeout=3, charset="utf8mb4")
    except pymysql.err.OperationalError:
        raise Missing(
            f"MariaDB does not answer at {url.set(database=None)}: start it (docker compose -f compose.test.yaml up "
            "-d) or set TEST_MYSQL_URL"
        ) from None
