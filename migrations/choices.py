"""Further values for a column that has a list of them."""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def allow_choices(table: str, column: str, constraint: str, values: Sequence[str]) -> None:
    """Let a column have these values instead of the ones that its CHECK constraint has listed so far."""
    listed = ", ".join(f"'{value}'" for value in values)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({column} IN ({listed}))")
    else:
        _rewrite(table, rf"(CONSTRAINT {constraint} CHECK \({column} IN )\([^)]*\)", rf"\1({listed})")


def _rewrite(table: str, pattern: str, replacement: str) -> None:
    """Change the text of a constraint in place, by the procedure that sqlite.org/lang_altertable.html gives for it.

    Making the table anew would drop the old one, and with it the rows of every table that cascades from it.
    """
    connection = op.get_bind()
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")
    text, count = re.subn(pattern, replacement, connection.scalar(query, {"table": table}))
    if count != 1:
        raise RuntimeError(f"The table {table} has no such constraint.")
    schema_version = connection.scalar(sa.text("PRAGMA schema_version"))
    op.execute("PRAGMA writable_schema = ON")
    change = sa.text("UPDATE sqlite_master SET sql = :text WHERE type = 'table' AND name = :table")
    connection.execute(change, {"text": text, "table": table})
    op.execute(f"PRAGMA schema_version = {schema_version + 1}")
    op.execute("PRAGMA writable_schema = OFF")
