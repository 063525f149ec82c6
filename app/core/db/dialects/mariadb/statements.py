"""Statements over many rows on MariaDB."""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from app.core.db.dialects import kept_cursor
from app.core.db.dialects.inserts import insert_rows
from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.errors import NO_PRIVILEGE, number_of
from app.core.db.dialects.mariadb.folded_columns import with_folded
from app.core.db.dialects.protocol import Rows

TIMES_HAVE_ZONES = False
MONEY_IN_CENTS = False
HAS_ROW_LOCKS = True
PARAMSTYLE: str | None = None
WITH_MAY_WRITE = False
HAS_LATERAL = False
ROWS_AN_INSERT = 200

fetch = kept_cursor.fetch


def insert_missing(table: sa.Table) -> Any:
    """An INSERT that leaves out the rows whose key exists."""
    return sa.insert(table).prefix_with("IGNORE")


def insert_or_lock(table: sa.Table) -> Any:
    """An INSERT of a row that locks the row with its primary key instead, where there is one."""
    key = next(iter(table.primary_key.columns))
    # IGNORE takes a shared lock: two transactions that have it and want to change the row are a deadlock.
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def any_of(column: sa.ColumnElement[Any], values: Collection[Any], _kind: Any) -> sa.ColumnElement[bool]:
    """`column IN (values)`: the driver writes the values into the statement, so there may be any number of them."""
    return column.in_(list(values))


def among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a column has one of the integers of a parameter."""
    return column.in_(sa.bindparam(name, expanding=True))


def listed(values: Collection[int]) -> list[int]:
    """The value of such a parameter."""
    return list(values)


def write_rows(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with their folded texts, many with each statement. Table and columns are quoted already."""
    columns, rows = with_folded(table, columns, rows)
    insert_rows(cursor, table, columns, rows, mark="%s", rows_a_statement=ROWS_AN_INSERT)


def update_versions(connection: sa.Connection, table: sa.Table, rows: Rows, common: Mapping[str, Any]) -> int:
    """Set the values of objects that are at their versions, and values that are common to all.

    `rows` have the keys `id`, `version` and the same other columns. Returns how many were at their versions.
    """
    dialect, quote = connection.dialect, connection.dialect.identifier_preparer.quote
    names = list(rows[0])
    binds = [_bind(table.c[name], dialect) for name in names]
    parameters = [bind(row[name]) for row in rows for name, bind in zip(names, binds, strict=True)]
    first = ", ".join(f"%s AS {quote(name)}" for name in names)
    marks = " UNION ALL SELECT ".join([first, *[", ".join(["%s"] * len(names))] * (len(rows) - 1)])
    own = quote(table.name)
    changed = [f"{own}.{quote(name)} = changes.{quote(name)}" for name in names if name not in ("id", "version")]
    changed += [f"{own}.version = {own}.version + 1", *(f"{own}.{quote(name)} = %s" for name in common)]
    statement = (
        f"UPDATE {own} JOIN (SELECT {marks}) AS changes ON {own}.id = changes.id AND {own}.version = changes.version "  # noqa: S608 - names of ours
        f"SET {', '.join(changed)}"
    )
    values = [_bind(table.c[name], dialect)(value) for name, value in common.items()]
    return connection.exec_driver_sql(statement, (*parameters, *values)).rowcount


def _bind(column: sa.Column[Any], dialect: sa.Dialect) -> Any:
    return column.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)


def select_next_id(table: sa.Table) -> sa.Select[Any]:
    """A query of an id for a new row; no other transaction gets the same one."""
    return sa.select(sa.Sequence(sequence_of(table.name)).next_value())


def allocate_ids(connection: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """Reserve new ids of a table."""
    if count == 0:
        return []
    # The tables seq_1_to_N are MariaDB's own.
    statement = f"SELECT nextval({sequence_of(table.name)}) FROM seq_1_to_{count:d}"  # noqa: S608 - names of ours
    return [row[0] for row in connection.exec_driver_sql(statement)]


def running_transactions(connection: sa.Connection) -> tuple[int, int]:
    """(xmin, xmax): transactions below xmin have ended, from xmax on none has begun; numbered by their seconds.

    (0, 1), as if no transaction ended, where that is not known: to users without the privilege PROCESS, and where the
    server's list is an old one. InnoDB makes a new list only when nobody has read the last one for 100 ms. A list that
    was made for this statement contains its text, with a random number in it.
    """
    number = secrets.token_hex(8)
    statement = (
        "SELECT coalesce(unix_timestamp(min(if(is_own, NULL, trx_started))), unix_timestamp() + 1) "
        "DIV 1, unix_timestamp() + 1, coalesce(max(is_own AND locate(%(number)s, trx_query) > 0), 0) FROM ("
        "SELECT trx_started, trx_query, trx_mysql_thread_id = connection_id() AS is_own "
        "FROM information_schema.innodb_trx) AS transactions"
    )
    try:
        xmin, xmax, is_current = connection.exec_driver_sql(statement, {"number": number}).one()
    except sa.exc.DBAPIError as error:
        if error.orig is None or number_of(error.orig) != NO_PRIVILEGE:
            raise
        return 0, 1
    return (int(xmin), int(xmax)) if is_current else (0, 1)


@contextmanager
def planned_by_value(_connection: sa.Connection, *, from_bitmaps: bool) -> Iterator[None]:
    """MariaDB plans each statement for its values."""
    yield
