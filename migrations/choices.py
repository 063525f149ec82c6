"""Reusable migration operation: change the values that an enumeration column accepts."""

from collections.abc import Sequence

from alembic import op

from migrations import guards


def allow_choices(table: str, column: str, constraint: str, values: Sequence[str]) -> None:
    """Replace the list of values in the CHECK constraint of a column."""
    listed = ", ".join(f"'{value}'" for value in values)
    guards.execute(guards.own().choices(op.get_bind(), table, column, constraint, listed))
