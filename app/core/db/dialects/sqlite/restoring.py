"""Replacing all rows of SQLite by those of a backup."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

_SET_NUMBER = (
    # The table has no key, and no row of a table that has not numbered a row yet.
    sa.text("DELETE FROM sqlite_sequence WHERE name = :name AND seq < :number"),
    sa.text(
        "INSERT INTO sqlite_sequence SELECT :name, :number "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name)"
    ),
)


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given to a row."""
    rows = connection.execute(sa.text("SELECT name, seq AS number FROM sqlite_sequence"))
    return {row.name: row.number for row in rows}


def set_last_number(connection: sa.Connection, table: sa.Table, number: int) -> None:
    """Let a table give greater numbers than this one and than those of its rows."""
    # What it has noted while the rows were written may be less.
    for statement in _SET_NUMBER:
        connection.execute(statement, {"name": table.name, "number": number})


@contextmanager
def emptied(connection: sa.Connection, tables: Sequence[str], _derived: Sequence[str]) -> Iterator[None]:
    """Empty all tables, and let the triggers rest meanwhile: they guard single changes, not a whole state."""
    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    triggers = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for name, _ in triggers:
        connection.execute(sa.text(f'DROP TRIGGER "{name}"'))
    for name in reversed(tables):
        connection.execute(sa.text(f'DELETE FROM "{name}"'))  # noqa: S608 - names of ours
    yield
    for _, statement in triggers:
        connection.exec_driver_sql(statement)
