"""Replacing all rows of PostgreSQL by those of a backup."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from app.core.db.dialects.postgresql.connections import lift_timeout


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given to a row."""
    statement = sa.text(
        "SELECT owned.relname AS name, coalesce(pg_sequence_last_value(numbers.oid), 0) AS number "
        "FROM pg_class AS numbers JOIN pg_depend ON objid = numbers.oid AND deptype IN ('a', 'i') "
        "JOIN pg_class AS owned ON owned.oid = refobjid "
        "WHERE numbers.relkind = 'S' AND owned.relnamespace = 'public'::regnamespace"
    )
    return {row.name: row.number for row in connection.execute(statement)}


def set_last_number(connection: sa.Connection, table: sa.Table, number: int) -> None:
    """Let a table give greater numbers than this one and than those of its rows."""
    if "id" not in table.columns:
        return
    sequence: str | None = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, "id")))
    if sequence:
        last = max(connection.scalar(sa.select(sa.func.max(table.c.id))) or 0, number)
        connection.execute(sa.select(sa.func.setval(sequence, max(last, 1), last > 0)))


@contextmanager
def emptied(connection: sa.Connection, tables: Sequence[str], derived: Sequence[str]) -> Iterator[None]:
    """Empty all tables, and let the triggers rest meanwhile: they guard single changes, not a whole state."""
    lift_timeout(connection)
    for name in tables:
        connection.execute(sa.text(f'ALTER TABLE "{name}" DISABLE TRIGGER USER'))
    connection.execute(sa.text(f"TRUNCATE {', '.join([*tables, *derived])}"))
    yield
    # What the foreign keys still have to check must be checked before the tables are changed again.
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    for name in tables:
        connection.execute(sa.text(f'ALTER TABLE "{name}" ENABLE TRIGGER USER'))
