"""Statements over many rows on PostgreSQL."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from app.core.db.dialects.postgresql.direct import DirectCursor
from app.core.db.dialects.protocol import Query, Rows
from app.core.db.measurement import count_copied
from app.core.values import json_text

TIMES_HAVE_ZONES = True
"""Whether the driver reads times as aware; ours are, because our connections are in UTC."""
MONEY_IN_CENTS = False
HAS_ROW_LOCKS = True
PARAMSTYLE: str | None = "numeric_dollar"
WITH_MAY_WRITE = True
HAS_LATERAL = True
ROWS_A_COPY = 10_000


def fetch(pooled: Any, queries: Sequence[Query]) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
    """The rows of each query, and (None, type) of each column."""
    cursor: DirectCursor = pooled.dbapi_connection.direct
    return cursor.fetch(queries)


def insert_missing(table: sa.Table) -> Any:
    """An INSERT that leaves out the rows whose key exists."""
    return postgresql.insert(table).on_conflict_do_nothing()


def insert_or_lock(table: sa.Table) -> Any:
    """An INSERT of a row that locks the row with its primary key instead, where there is one."""
    key = table.primary_key.columns.values()
    # DO NOTHING would lock nothing.
    return postgresql.insert(table).on_conflict_do_update(index_elements=key, set_={key[0].name: key[0]})


def any_of(column: sa.ColumnElement[Any], values: Collection[Any], kind: Any) -> sa.ColumnElement[bool]:
    """`column IN (values)` as one parameter."""
    return column == sa.any_(sa.literal(list(values), sa.ARRAY(kind)))


def among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a column has one of the integers of a parameter."""
    # A text: psycopg would look at each value of a list.
    return column == sa.any_(sa.cast(sa.bindparam(name, type_=sa.Text()), sa.ARRAY(sa.BigInteger())))


def listed(values: Collection[int]) -> str:
    """The value of such a parameter."""
    return f"{{{','.join(map(str, values))}}}"


def write_rows(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows by COPY: twice as many a second as any INSERT writes. Table and columns are quoted already."""
    rest = iter(rows)
    # One COPY of all rows could exceed the statement timeout.
    while part := list(islice(rest, ROWS_A_COPY)):
        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in part:
                copy.write_row(row)
        count_copied(len(part))


def update_versions(connection: sa.Connection, table: sa.Table, rows: Rows, common: Mapping[str, Any]) -> int:
    """Set the values of objects that are at their versions, and values that are common to all.

    `rows` have the keys `id`, `version` and the same other columns. Returns how many were at their versions.
    One statement for all of them, which PostgreSQL reads into rows of the table itself.
    """
    rows_of_table = sa.cast(sa.bindparam("changes", type_=sa.Text()), postgresql.JSON)
    populated = sa.func.json_populate_recordset(sa.text(f"NULL::{table.name}"), rows_of_table)
    changes = populated.table_valued(*(table.c[name] for name in rows[0]), name="changes")
    changed = {name: changes.c[name] for name in rows[0] if name not in ("id", "version")}
    statement = (
        sa.update(table)
        .where(table.c.id == changes.c.id, table.c.version == changes.c.version)
        .values({**changed, "version": table.c.version + 1, **common})
    )
    return connection.execute(statement, {"changes": json_text(rows)}).rowcount


def select_next_id(table: sa.Table) -> sa.Select[Any]:
    """A query of an id for a new row; no other transaction gets the same one."""
    return sa.select(sa.func.nextval(_sequence(table)))


def allocate_ids(connection: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """Reserve new ids of a table."""
    # The sequence in a query of its own, which is run once and not for each number.
    number = sa.func.nextval(sa.select(_sequence(table)).scalar_subquery())
    numbers = sa.func.array_agg(number, type_=sa.ARRAY(sa.BigInteger))
    ids: list[int] = connection.scalar(sa.select(numbers).select_from(sa.func.generate_series(1, count))) or []
    return ids


def _sequence(table: sa.Table) -> sa.ColumnElement[Any]:
    return sa.cast(sa.func.pg_get_serial_sequence(table.name, "id"), postgresql.REGCLASS)


def running_transactions(connection: sa.Connection) -> tuple[int, int]:
    """(xmin, xmax): transactions below xmin have ended, from xmax on none has begun."""
    statement = sa.text(
        "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint "
        "FROM pg_current_snapshot() AS now"
    )
    xmin, xmax = connection.execute(statement).one()
    return xmin, xmax


@contextmanager
def planned_by_value(connection: sa.Connection, *, from_bitmaps: bool) -> Iterator[None]:
    """Have statements planned for their actual parameter values; see statements.planned_by_value."""
    driver: Any = connection.connection.dbapi_connection
    threshold, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        if from_bitmaps:
            driver.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        yield
        if from_bitmaps:
            driver.execute("RESET enable_seqscan; RESET enable_indexscan")
    finally:
        driver.prepare_threshold = threshold
