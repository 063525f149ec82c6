"""What a user of MariaDB must be allowed, and what is said where something is missing."""

from collections.abc import Iterator
from secrets import token_hex

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from flask import Flask

from app.core.db.unit_of_work import db
from migrations.dialects.mariadb_privileges import require_privileges
from tests.documents.blocks import ALL
from tests.mariadb import on_mariadb

pytestmark = on_mariadb

NEEDED = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX"),
    *("TRIGGER", "CREATE ROUTINE"),
)
"""The privileges of the user who migrates; who creates a routine may also execute and drop it."""
ON_MYSQL = ("REFERENCES",)
"""What MySQL alone asks for."""


@pytest.fixture
def account(app: Flask) -> Iterator[str]:
    """A user without privileges, who may do something in a database of their own."""
    name = f"test_{token_hex(6)}"
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        connection.exec_driver_sql(f"CREATE USER {name} IDENTIFIED BY '{name}'")
        yield name
        connection.exec_driver_sql(f"DROP USER {name}")
        connection.exec_driver_sql(f"DROP DATABASE {name}")


def grant(account: str, privileges: tuple[str, ...]) -> None:
    with db.engine.connect() as connection:
        connection.exec_driver_sql(f"GRANT {', '.join(privileges + ON_MYSQL)} ON {account}.* TO {account}")


def try_to_migrate(account: str, user: str = "") -> list[str]:
    """Try what migrations do in the database of an account; returns the tables and routines that are left."""
    engine = sa.create_engine(db.engine.url.set(username=user or account, password=account, database=account))
    try:
        with engine.connect() as connection:
            require_privileges(connection)
    finally:
        engine.dispose()
    left = (
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{account}' "
        f"UNION SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{account}'"
    )
    with db.engine.connect() as connection:
        return list(connection.exec_driver_sql(left).scalars())


def test_a_user_with_all_that_is_needed(account: str) -> None:
    grant(account, NEEDED)
    assert try_to_migrate(account) == []


@pytest.mark.parametrize("missing", NEEDED)
def test_what_is_missing_is_said(account: str, missing: str) -> None:
    grant(account, tuple(each for each in NEEDED if each != missing))
    with pytest.raises(CommandError, match="refuses what migrations do: "):
        try_to_migrate(account)


def test_the_users_of_the_documents(app: Flask) -> None:
    name = f"test_{token_hex(6)}"
    text = "".join(block.text for block in ALL if block.language == "sql")
    own = text.replace("itam", name).replace("10.0.0.%", "%").replace("…", name)
    # A setting of the whole server is that of others, too.
    statements = [each for each in own.split(";") if each.strip() and "GLOBAL" not in each]
    with app.app_context(), db.engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        try:
            assert try_to_migrate(name) == []
            with pytest.raises(CommandError):
                try_to_migrate(name, f"{name}_app")
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
            connection.exec_driver_sql(f"DROP USER {name}, {name}_app")
