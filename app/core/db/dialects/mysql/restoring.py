"""Replacing all rows of MySQL by those of a backup."""

# ruff: noqa: S608 - the statements consist of names of ours

from typing import Any

import sqlalchemy as sa

from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.restoring import emptied
from app.core.db.dialects.mysql.statements import is_numbered_ahead

__all__ = ["emptied", "last_numbers", "set_last_number"]


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given to a row, by itself or by its sequence."""
    query = (
        "SELECT table_name, auto_increment - 1 FROM information_schema.tables "
        "WHERE table_schema = database() AND auto_increment IS NOT NULL"
    )
    numbers = {name: int(number) for name, number in connection.execute(sa.text(query))}
    return {
        name: max(number, numbers.get(sequence_of(name), 0))
        for name, number in numbers.items()
        if sequence_of(name) in numbers or not name.endswith(sequence_of(""))
    }


def set_last_number(connection: sa.Connection, table: sa.Table, number: int) -> None:
    """Let a table give greater numbers than this one and than those of its rows."""
    if table.autoincrement_column is None:
        return
    last = max(connection.scalar(sa.select(sa.func.max(table.c.id))) or 0, number)
    if not is_numbered_ahead(table):
        driver: Any = connection.connection.driver_connection
        # It commits.
        driver.at_end = (*driver.at_end, f'ALTER TABLE "{table.name}" AUTO_INCREMENT = {last + 1:d}')
    elif last:
        # A sequence only moves forward.
        name = sequence_of(table.name)
        connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({last:d})")
        connection.exec_driver_sql(f"DELETE FROM {name} WHERE id = {last:d}")
