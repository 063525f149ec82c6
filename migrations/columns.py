"""Reusable migration operations: add a column that has a constraint.

SQLite cannot add a constraint to a table that exists. It takes one together with its column, and drops both together;
PostgreSQL does so too. MariaDB and MySQL name a constraint only apart from its column, in the same statement.
"""

from collections.abc import Sequence

from alembic import op

from migrations import guards


def add_reference(table: str, column: str, target: str, *, ondelete: str | None = None) -> None:
    """Add a nullable column that refers to the id of another table."""
    own = guards.own()
    rule = f"{own.FOREIGN_KEY.format(column)}REFERENCES {target} (id)" + (f" ON DELETE {ondelete}" if ondelete else "")
    _add(table, column, f"{own.ID}{own.BEFORE_CONSTRAINT}", f"fk_{table}_{column}", rule)


def add_choice(table: str, column: str, constraint: str, values: Sequence[str], *, default: str | None = None) -> None:
    """Add a column that accepts the values of an enumeration; with a default, which all rows get, it is not nullable."""
    listed = ", ".join(f"'{value}'" for value in values)
    kind = "VARCHAR(32)" + (f" DEFAULT '{default}' NOT NULL" if default else "")
    _add(table, column, f"{kind}{guards.own().BEFORE_CONSTRAINT}", constraint, f"CHECK ({column} IN ({listed}))")


def _add(table: str, column: str, kind: str, constraint: str, rule: str) -> None:
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind} CONSTRAINT {constraint} {rule}")
