"""Statements over many rows: read without objects, written as sets, planned for what they are asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVarTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.core.database import db, is_reading, reading_connection, touch

ROWS_AT_ONCE = 1000
"""Rows that a set-based write converts together."""
ROWS_A_COPY = 10_000
ROWS_AN_INSERT = 50

Columns = TypeVarTuple("Columns")

Bind = Callable[[Any], Any]


def read_rows(statement: sa.Select[*Columns], values: Mapping[str, Any] | None = None) -> sa.CursorResult[*Columns]:
    """The rows of a query that builds no ORM objects; the way to read whatever is read often.

    A safe request needs no unit of work for that, which would cost more than they do.
    """
    connection = reading_connection() if is_reading() else db.session.connection()
    return connection.execute(statement, values)


def write_rows(table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert many rows in the current transaction, each a sequence of values in the order of `columns`.

    COPY on PostgreSQL (measured at twice the rows a second of any INSERT), many rows an INSERT on SQLite.
    """
    connection = db.session.connection()
    dialect = connection.dialect
    binds = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    names = ", ".join(map(dialect.identifier_preparer.quote, columns))
    cursor: Any = connection.connection.cursor()
    try:
        if dialect.name == "postgresql":
            bound = _bound(binds, rows)
            # One statement for all of them could take longer than a statement may.
            while part := list(islice(bound, ROWS_A_COPY)):
                with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                    for row in part:
                        copy.write_row(row)
        else:
            marks = f"({', '.join('?' * len(columns))})"
            bound = _bound(binds, rows)
            # SQLite prepares for the failure of each statement, which costs more than a row.
            while part := list(islice(bound, ROWS_AN_INSERT)):
                statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([marks] * len(part))}"  # noqa: S608
                cursor.execute(statement, list(chain.from_iterable(part)))
    except dialect.loaded_dbapi.Error as error:
        # The driver's own error, because SQLAlchemy has no part in COPY: given the shape of all others.
        raise DBAPIError.instance(table.name, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
    finally:
        cursor.close()
    touch(table.name)


def _bound(binds: Sequence[Bind | None], rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows as the driver takes them, some at a time, so that what a column repeats is converted once."""
    places = [(place, bind) for place, bind in enumerate(binds) if bind is not None]
    rest = iter(rows)
    while some := list(islice(rest, ROWS_AT_ONCE)):
        columns: list[Sequence[Any]] = list(zip(*some, strict=True))
        for place, bind in places:
            columns[place] = _bound_column(bind, columns[place])
        yield from zip(*columns, strict=True)


def _bound_column(bind: Bind, values: Sequence[Any]) -> list[Any]:
    try:
        known = {value: None if value is None else bind(value) for value in set(values)}
    except TypeError:
        # JSON is not hashable.
        return [None if value is None else bind(value) for value in values]
    return [known[value] for value in values]


def any_of(column: sa.ColumnElement[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """`column IN (values)` as one parameter, for lists longer than a statement may have parameters."""
    listed = list(values)
    numeric = all(isinstance(value, int) for value in listed)
    kind: sa.types.TypeEngine[Any] = sa.BigInteger() if numeric else sa.Text()
    if db.engine.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(listed, sa.ARRAY(kind)))
    each = sa.func.json_each(sa.literal(orjson.dumps(listed).decode(), sa.Text())).table_valued("value")
    return column.in_(sa.select(each.c.value))


@contextmanager
def planned_by_value(*, from_bitmaps: bool = False) -> Iterator[None]:
    """Have PostgreSQL plan the session's statements meanwhile for the very values that they are asked with.

    The plan that it keeps for a statement fits all values alike: where some find ten rows and others ten million, it
    is wrong for most. A large bitmap needs memory too, or each row of its pages is looked at again. `from_bitmaps`
    says what the planner cannot know: that few rows match, so they are to be found first and sorted then.
    """
    if db.engine.dialect.name != "postgresql":
        yield
        return
    settings = {"plan_cache_mode": "force_custom_plan", "work_mem": "64MB"}
    if from_bitmaps:
        settings |= {"enable_seqscan": "off", "enable_indexscan": "off"}
    db.session.execute(sa.select(*(sa.func.set_config(name, value, False) for name, value in settings.items())))
    try:
        yield
    except BaseException:
        # Nobody else is to get a connection with these settings.
        db.session().invalidate()
        raise
    for name in ("enable_seqscan", "enable_indexscan") if from_bitmaps else settings:
        db.session.execute(sa.text(f"RESET {name}"))
