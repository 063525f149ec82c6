"""Statements over many rows: reads without ORM objects, set-based writes, and planner settings."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, TypeVarTuple, cast

import sqlalchemy as sa
from flask import has_app_context
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from app.core.db.dialects.registry import current_dialect, dialect_named, dialect_of
from app.core.db.unit_of_work import db, touch, unit_of_work
from app.core.values import json_text

BATCH_ROWS = 1000
"""Rows that a set-based write converts together."""

Columns = TypeVarTuple("Columns")

Bind = Callable[[Any], Any]
Statement = sa.Select[Any] | sa.Insert | sa.Update


class BoundRows(NamedTuple):
    """Rows of a table as the driver takes them, in the order of `columns`."""

    table: sa.Table
    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def read_rows(statement: sa.Select[*Columns], values: Mapping[str, Any] | None = None) -> sa.CursorResult[*Columns]:
    """The rows of a query that builds no ORM objects; in a reading block it needs no session."""
    return unit_of_work().current_connection().execute(statement, values)


def fetch_rows(statement: sa.Select[*Columns]) -> Iterator[sa.Row[*Columns]]:
    """The rows of a query of the session, for those that find many.

    BATCH_ROWS are fetched together: psycopg converts them in one call. Row by row, an import of 15,889 rows that
    changes nothing took the application 8 % more processor time.
    """
    for batch in db.session.execute(statement).partitions(BATCH_ROWS):
        yield from batch


class Prepared:
    """A query that is compiled once and then given to the driver directly, for those that every request runs.

    SQLAlchemy's execution takes longer than the driver and the database together: with it, a page of a list from the
    cache took 850 instead of 744 µs of processor time, and one object 1,077 instead of 841 µs (the least of 24 blocks
    of 40 requests in turn, SQLite).

    PostgreSQL keeps a plan for all values alike after some runs. `by_value` says that they differ too much, as those of
    filters do: for a range it then expects 1 of 200 rows, and counted 2,500 servers in 21 instead of 0.7 ms.
    """

    def __init__(self, statement: Statement, *, by_value: bool = False) -> None:
        self._statement = statement
        self._by_value = by_value
        self._by_dialect: dict[str, _Compiled | None] = {}

    def rows(self, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows, each a sequence of values in the order of the columns. Raises DBAPIError."""
        work = unit_of_work()
        connection = work.current_connection()
        compiled = self._compiled(connection.dialect)
        if compiled is not None:
            try:
                return compiled.rows(connection, values)
            except connection.dialect.loaded_dbapi.Error as error:
                # Nothing was changed by it: SQLAlchemy runs it again, and tells a lost connection from other errors. A
                # transaction in which a statement has failed refuses further ones.
                if not work.is_reading:
                    raise _wrapped(error, compiled.text, connection) from error
        return connection.execute(self._statement, values).all()

    def _compiled(self, dialect: sa.Dialect) -> "_Compiled | None":
        if dialect.name not in self._by_dialect:
            compiled = self._statement.compile(dialect=_as_fetched(dialect))
            depends_on_values = compiled.literal_execute_params or compiled.post_compile_params
            self._by_dialect[dialect.name] = (
                None if depends_on_values else _Compiled(self._statement, compiled, by_value=self._by_value)
            )
        return self._by_dialect[dialect.name]


class _Compiled:
    """A statement compiled for one dialect, with the processors of its parameters and columns."""

    def __init__(self, statement: Statement, compiled: SQLCompiler, *, by_value: bool) -> None:
        self.text = str(compiled)
        self._by_value = by_value
        self._fetch = dialect_named(compiled.dialect.name).statements.fetch
        self._positions = compiled.positiontup
        self._constants = dict(compiled.params)
        binds = {name: binding(bind.type, compiled.dialect) for name, bind in compiled.binds.items()}
        self._binds = [(name, bind) for name, bind in binds.items() if bind is not None]
        self._types = [column.type for column in statement.exported_columns]
        self._reads: Sequence[tuple[int, Bind]] | None = None

    def rows(self, connection: sa.Connection, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        parameters: Any = {**self._constants, **values}
        for name, bind in self._binds:
            parameters[name] = bind(parameters[name])
        if self._positions is not None:
            parameters = [parameters[name] for name in self._positions]
        # Listeners to SQLAlchemy's statements see this one too, without a cursor.
        for listener in connection.engine.dispatch.before_cursor_execute:
            listener(connection, None, self.text, parameters, None, False)
        records, description = self._fetch(connection.connection, self.text, parameters, by_value=self._by_value)
        if self._reads is None:
            self._reads = self._readers(connection.dialect, description)
        if not records or not self._reads:
            return records
        if len(records) == 1:
            row = list(records[0])
            for place, read in self._reads:
                row[place] = read(row[place])
            return [row]
        columns: list[Sequence[Any]] = list(zip(*records, strict=True))
        for place, read in self._reads:
            columns[place] = [read(value) for value in columns[place]]
        return list(zip(*columns, strict=True))

    def _readers(self, dialect: sa.Dialect, description: Any) -> list[tuple[int, Bind]]:
        """The result processors of the columns; they depend on the types that the driver reports."""
        reads: list[tuple[int, Bind]] = []
        for place, (kind, described) in enumerate(zip(self._types, description, strict=True)):
            read = kind.dialect_impl(dialect).result_processor(dialect, described[1])
            if read is not None:
                reads.append((place, read))
        return reads


def _as_fetched(dialect: sa.Dialect) -> sa.Dialect:
    """A dialect that writes parameters as `fetch` takes them."""
    style = dialect_named(dialect.name).statements.PARAMSTYLE
    if style is None:
        return dialect
    other: Any = copy.copy(dialect)
    other.paramstyle, other.positional = style, True
    other.identifier_preparer = other.preparer(other)
    return cast(sa.Dialect, other)


def binding(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Bind | None:
    """The bind processor of a type."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def write_rows(table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert many rows in the current transaction, each a sequence of values in the order of `columns`."""
    write_bound(bind_rows(table, columns, rows))


def bind_rows(table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> BoundRows:
    """Convert rows for the driver, lazily. The database is not queried, so any thread may do it."""
    dialect = db.engine.dialect
    # JSON as its text, which every database reads: psycopg's wrapper took 2 % of the application of an import.
    kinds = [table.c[name].type for name in columns]
    binds = [json_text if isinstance(kind, sa.JSON) else binding(kind, dialect) for kind in kinds]
    return BoundRows(table, columns, _bound(binds, rows))


def write_bound(bound: BoundRows) -> None:
    """Insert rows in the current transaction, by the fastest way of the database."""
    connection = db.session.connection()
    dialect = connection.dialect
    table = bound.table
    names = list(map(dialect.identifier_preparer.quote, bound.columns))
    cursor: Any = connection.connection.cursor()
    try:
        dialect_of(connection).statements.write_rows(cursor, table.name, names, bound.rows)
    except dialect.loaded_dbapi.Error as error:
        raise _wrapped(error, table.name, connection) from error
    finally:
        cursor.close()
    touch(table.name)


def _wrapped(error: Any, statement: str, connection: sa.Connection) -> DBAPIError:
    """The error of a driver as SQLAlchemy raises it, which does so for its own cursors only."""
    dialect = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if is_lost:
        connection.invalidate(error)
    kind = dialect.loaded_dbapi.Error
    wrapped = DBAPIError.instance(
        statement, None, error, kind, hide_parameters=True, connection_invalidated=is_lost, dialect=dialect
    )
    return cast(DBAPIError, wrapped)


def note_changed_table(_connection: Any, statement: Any, *_: Any) -> None:
    """Listener: note the table of each INSERT, UPDATE and DELETE, the flushed ones too; `write_bound` notes its own."""
    if statement.is_dml and has_app_context():
        touch(statement.table.name)


def _bound(binds: Sequence[Bind | None], rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows as the driver takes them, in batches, so that repeated values of a column are converted once."""
    places = [(place, bind) for place, bind in enumerate(binds) if bind is not None]
    rest = iter(rows)
    while batch := list(islice(rest, BATCH_ROWS)):
        columns: list[Sequence[Any]] = list(zip(*batch, strict=True))
        for place, bind in places:
            columns[place] = _bound_column(bind, columns[place])
        yield from zip(*columns, strict=True)


def _bound_column(bind: Bind, values: Sequence[Any]) -> list[Any]:
    try:
        bound = {value: None if value is None else bind(value) for value in set(values)}
    except TypeError:
        # JSON is not hashable.
        return [None if value is None else bind(value) for value in values]
    return [bound[value] for value in values]


def insert_missing(table: sa.Table) -> Any:
    """An INSERT that leaves out the rows whose key exists."""
    return current_dialect().statements.insert_missing(table)


def insert_or_lock(table: sa.Table) -> Any:
    """An INSERT of a row that locks the row with its primary key instead, where there is one."""
    return current_dialect().statements.insert_or_lock(table)


def any_of(column: sa.ColumnElement[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """`column IN (values)` as one parameter, for lists longer than a statement may have parameters."""
    listed = list(values)
    numeric = all(isinstance(value, int) for value in listed)
    return current_dialect().statements.any_of(column, listed, sa.BigInteger() if numeric else sa.Text())


@contextmanager
def planned_by_value(*, from_bitmaps: bool = False) -> Iterator[None]:
    """Have the session's statements planned for their actual parameter values.

    The plan that PostgreSQL keeps for a prepared statement fits all values alike: where some find ten rows and others
    ten million, it is wrong for most. `from_bitmaps` says what the planner cannot know: that few rows match, so they
    are to be found first and sorted then.
    """
    statements = current_dialect().statements
    with statements.planned_by_value(db.session.connection(), from_bitmaps=from_bitmaps):
        try:
            yield
        except BaseException:
            if from_bitmaps:
                # The pool must not hand out a connection with these settings.
                db.session().invalidate()
            raise
