"""Statements over many rows on SQLite."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from app.core.db.dialects import kept_cursor
from app.core.db.dialects.inserts import insert_rows
from app.core.db.dialects.protocol import Rows

TIMES_HAVE_ZONES = False
MONEY_IN_CENTS = True
"""SQLite has no exact decimals."""
HAS_ROW_LOCKS = False
"""A transaction that writes holds the lock of all writers."""
PARAMSTYLE: str | None = None
WITH_MAY_WRITE = False
"""SQLite has no round trips that it would save."""
HAS_LATERAL = False
ROWS_AN_INSERT = 50

fetch = kept_cursor.fetch


def insert_missing(table: sa.Table) -> Any:
    """An INSERT that leaves out the rows whose key exists."""
    return sqlite.insert(table).on_conflict_do_nothing()


def insert_or_lock(table: sa.Table) -> Any:
    """An INSERT of a row that locks the row with its primary key instead, where there is one."""
    # A transaction that writes has locked the whole database already.
    return insert_missing(table)


def any_of(column: sa.ColumnElement[Any], values: Collection[Any], _kind: Any) -> sa.ColumnElement[bool]:
    """`column IN (values)` as one parameter."""
    return column.in_(_each(sa.literal(listed(values), sa.Text())))


def among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a column has one of the integers of a parameter."""
    return column.in_(_each(sa.bindparam(name, type_=sa.Text())))


def listed(values: Collection[Any]) -> str:
    """The value of such a parameter."""
    return orjson.dumps(list(values)).decode()


def _each(document: sa.ColumnElement[str]) -> sa.Select[Any]:
    return sa.select(sa.func.json_each(document).table_valued("value").c.value)


def write_rows(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, many with each statement. Table and columns are quoted already."""
    # SQLite's journal for the rollback of a statement costs more than a row.
    insert_rows(cursor, table, columns, rows, mark="?", rows_a_statement=ROWS_AN_INSERT)


def update_versions(connection: sa.Connection, table: sa.Table, rows: Rows, common: Mapping[str, Any]) -> int:
    """Set the values of objects that are at their versions, and values that are common to all.

    `rows` have the keys `id`, `version` and the same other columns. Returns how many were at their versions.
    """
    changed: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in rows[0] if name not in ("id", "version")}
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("new_id"), table.c.version == sa.bindparam("new_version"))
        .values({**changed, "version": table.c.version + 1, **common})
    )
    parameters = [{f"new_{name}": value for name, value in row.items()} for row in rows]
    return connection.execute(statement, parameters).rowcount


def select_next_id(table: sa.Table) -> sa.Select[Any]:
    """A query of an id for a new row; no other transaction gets the same one."""
    # The transaction holds SQLite's only write lock, so no other writer reads the same number.
    numbered = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq", sa.Integer))
    last = sa.select(numbered.c.seq).where(numbered.c.name == table.name).scalar_subquery()
    return sa.select(sa.func.coalesce(last, 0) + 1)


def allocate_ids(connection: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """Reserve new ids of a table."""
    first: int = connection.execute(select_next_id(table)).scalar_one()
    # The rows may be written by a later transaction than this one.
    last = (first + count - 1, table.name)
    if not connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", last).rowcount:
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)", last)
    return list(range(first, first + count))


def running_transactions(_connection: sa.Connection) -> tuple[int, int]:
    """(0, 0): no transaction writes beside another one."""
    return 0, 0


@contextmanager
def planned_by_value(_connection: sa.Connection, *, from_bitmaps: bool) -> Iterator[None]:
    """SQLite plans a statement once, for all values."""
    yield
