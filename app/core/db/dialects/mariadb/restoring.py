"""Replacing all rows of MariaDB by those of a backup."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.connections import lift_timeout

FLAG = "audit_restoring"
"""The table that has a row in the transaction that restores a backup, for which our triggers rest.

A trigger refuses the row: only who may drop that trigger can restore, and could drop all others, too.
"""
GUARD = (
    f"CREATE TRIGGER {FLAG}_refused BEFORE INSERT ON {FLAG} FOR EACH ROW "
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Only a restore lets the triggers rest.'"
)
IS_RESTORING = f"EXISTS (SELECT 1 FROM {FLAG})"


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """A number that is not below the last one that each table has given to a row: sequences are read ahead."""
    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_type = 'SEQUENCE'"
    )
    suffix = sequence_of("")
    return {
        name.removesuffix(suffix): connection.scalar(sa.text(f"SELECT next_not_cached_value - 1 FROM {name}"))
        for name in connection.scalars(sa.text(query)).all()
    }


def set_last_number(connection: sa.Connection, table: sa.Table, number: int) -> None:
    """Let a table give greater numbers than this one and than those of its rows."""
    if table.autoincrement_column is not None:
        last = max(connection.scalar(sa.select(sa.func.max(table.c.id))) or 0, number)
        # A sequence only moves forward.
        connection.execute(sa.text(f"SELECT setval({sequence_of(table.name)}, {last:d})"))


@contextmanager
def emptied(connection: sa.Connection, tables: Sequence[str], derived: Sequence[str]) -> Iterator[None]:
    """Empty all tables, and let the triggers rest meanwhile: they guard single changes, not a whole state."""
    lift_timeout(connection)
    driver: Any = connection.connection.driver_connection
    driver.at_end = (*driver.at_end, GUARD)
    # It commits the transaction, which has done nothing yet.
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {FLAG}_refused")
    connection.exec_driver_sql("START TRANSACTION")
    connection.exec_driver_sql(f"INSERT INTO {FLAG} VALUES (1)")
    connection.exec_driver_sql("SET foreign_key_checks = 0")
    try:
        for name in (*tables, *derived):
            connection.exec_driver_sql(f'DELETE FROM "{name}"')
        yield
    finally:
        connection.exec_driver_sql("SET foreign_key_checks = 1")
    connection.exec_driver_sql(f"DELETE FROM {FLAG}")
