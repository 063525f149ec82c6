"""Reusable migration operations: triggers and functions by which the database itself protects the audit log.

They hold for raw SQL too. How a trigger is written is in `dialects`, with a module for each database.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

from app.core.db.counters.declaration import Counted
from app.core.db.dialects.protocol import SearchStatements
from app.core.db.dialects.registry import dialect_of
from app.core.db.search.declaration import Form, Searched

CONSENT = "DROP_AUDIT_LOG"
"""The environment variable that allows a downgrade to drop the audit log; its value is the name of that log."""


def create_functions() -> None:
    """Create what the guards call, after the audit log and before the first guarded table."""
    execute(own().functions())


def create_text_functions() -> None:
    """Create the functions by which texts are compared and ordered, before the tables that index them.

    They do what the functions of the same names in app.core.values and app.core.addresses do.
    """
    execute(own().text_functions())


def drop_functions() -> None:
    """Drop what `create_functions` and `create_text_functions` create, after all tables."""
    execute(own().drop_text_functions())
    execute(own().drop_functions())


def guard_append_only(table: str) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE."""
    execute(own().append_only(table))


def guard_changes(table: str, *, unversioned: Collection[str] = ()) -> None:
    """Refuse a change of a row that does not raise its version or has no audit record; for every audited table."""
    guard_versions(table, unversioned=unversioned)
    execute(own().records(table))


def guard_versions(table: str, *, unversioned: Collection[str] = ()) -> None:
    """Refuse an UPDATE that does not raise the version by one, unless it sets `unversioned` columns only.

    With `unversioned` columns the trigger lists all others: call this again after adding a column to such a table.
    """
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    listed = f" OF {', '.join(name for name in columns if name not in unversioned)}" if unversioned else ""
    execute(own().versions(table, listed))


def create_search_entries() -> None:
    """Create the table of what can be found, before the tables whose objects are in it."""
    for statement in _search().creation():
        op.execute(sa.text(statement.replace(":", "\\:")))


def keep_search_entries(table: str, columns: Sequence[str], *, is_private: bool = False) -> None:
    """Keep the text of a table's objects in the table of what can be found, and write it for those that there are.

    `columns` are searched in the order of their weight, the object's name first; one that is no text says its form
    (`tags:list`). After changing what is searched of a table, call `forget_search_entries` and then this.
    """
    searched = _searched(table, columns, is_private=is_private)
    for statement in (*_search().triggers(searched), *searched.rebuilding(_search().insertion)):
        op.execute(sa.text(statement.replace(":", "\\:")))


def forget_search_entries(table: str) -> None:
    """Undo `keep_search_entries`, before the table is dropped or other columns of it are searched."""
    for statement in _search().removal(_searched(table, ())):
        op.execute(statement)


def keep_counts(table: str, counters: Sequence[Sequence[str]]) -> None:
    """Keep the numbers of a table's objects by the values of columns, and count those that there are.

    Each counter is a group of columns; of a time its day is counted (`created_at:day`). After changing what is counted
    of a table, call `forget_counts` and then this.
    """
    counted, statements = Counted.parse(table, counters), dialect_of(op.get_bind()).counters
    execute((*statements.triggers(counted), *statements.rebuilding(counted)))


def forget_counts(table: str) -> None:
    """Undo `keep_counts`, before the table is dropped or other columns of it are counted."""
    execute(dialect_of(op.get_bind()).counters.removal(Counted(table, ())))


def number_commits(*tables: str) -> None:
    """Number the commits that change tables, where the database can: by these numbers cached answers are out of date."""
    if statements := dialect_of(op.get_bind()).commits:
        execute(statement for table in tables for statement in statements.creation(table))


def forget_commits(*tables: str) -> None:
    """Undo `number_commits`, before or after the tables are dropped."""
    if statements := dialect_of(op.get_bind()).commits:
        execute(statement for table in tables for statement in statements.removal(table))


def _search() -> SearchStatements:
    return dialect_of(op.get_bind()).search


def _searched(table: str, columns: Sequence[str], *, is_private: bool = False) -> Searched:
    forms = ((name, Form(form or "text")) for name, _, form in (each.partition(":") for each in columns))
    return Searched(table, tuple(forms), is_private=is_private)


def create_text_index(name: str, table: str, expression: str, *, where: str | None = None) -> None:
    """Create a GIN index on PostgreSQL; SQLite has no counterpart and scans the rows."""
    execute(own().text_index(name, table, expression, where))


def require_consent_to_drop_log() -> None:
    """Raise RuntimeError where a downgrade would drop audit records and the environment does not name their log."""
    connection = op.get_bind()
    count = connection.scalar(sa.text("SELECT count(*) FROM audit_logs"))
    name = connection.scalar(sa.text("SELECT name FROM audit_origin"))
    if count and os.environ.get(CONSENT) != name:
        raise RuntimeError(
            f"This downgrade would drop the audit log with its {count} records, and they cannot be restored without a "
            f"backup. To drop them, set {CONSENT}={name} and run it again."
        )


def own() -> Any:
    """The module of the database that is migrated."""
    return module_of(op.get_bind())


def module_of(connection: sa.Connection) -> Any:
    """The module of a connection's database; one may say to Alembic how tables are created, so it comes first."""
    return import_module(f"migrations.dialects.{connection.dialect.name}")


def of_dialect(statements: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """The statements for the database that is migrated, by the name of its dialect; none where there are none."""
    return statements.get(own().NAME, ())


def execute(statements: Iterable[str]) -> None:
    """Execute statements one after the other, as they are made."""
    for statement in statements:
        op.execute(statement)
