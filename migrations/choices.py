"""Reusable migration operation: change the values that an enumeration column accepts."""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def allow_choices(table: str, column: str, constraint: str, values: Sequence[str]) -> None:
    """Replace the list of values in the CHECK constraint of a column."""
    listed = ", ".join(f"'{value}'" for value in values)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({column} IN ({listed}))")
    else:
        _edit_on_sqlite(table, column, constraint, listed)


def _edit_on_sqlite(table: str, column: str, constraint: str, listed: str) -> None:
    """Edit the constraint in sqlite_master, by the procedure of https://sqlite.org/lang_altertable.html#otheralter.

    Alembic's batch mode copies and drops the table, which would delete the rows of every table that cascades from it.
    """
    connection = op.get_bind()
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")
    pattern = rf"(CONSTRAINT {constraint} CHECK \({column} IN )\([^)]*\)"
    text, count = re.subn(pattern, rf"\1({listed})", connection.scalar(query, {"table": table}))
    if count != 1:
        raise RuntimeError(f"The table {table} has no constraint {constraint} that lists the values of {column}.")
    schema_version = connection.scalar(sa.text("PRAGMA schema_version"))
    op.execute("PRAGMA writable_schema = ON")
    change = sa.text("UPDATE sqlite_master SET sql = :text WHERE type = 'table' AND name = :table")
    connection.execute(change, {"text": text, "table": table})
    op.execute(f"PRAGMA schema_version = {schema_version + 1}")
    op.execute("PRAGMA writable_schema = OFF")
