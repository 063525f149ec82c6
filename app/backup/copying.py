"""Copying all rows from one database to another, in the types of the models: the two may be of different kinds."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from app.backup.scratch import tables
from app.catalog import CATALOG
from app.core.db.models import JsonText
from app.core.db.search_entries import TABLE as SEARCH_ENTRIES
from app.core.db.statements import write_rows
from app.core.db.unit_of_work import db, touch
from app.core.mail.outbox import MailState, outbox
from app.core.values import utcnow
from app.imports.models import ImportFile
from app.imports.report.models import ImportReport
from app.resource.query.searched_fields import is_searched
from app.search.commands import rebuild_entries

FETCH_ROWS = 2_000
"""Rows that are fetched together."""
WITH_FILES = {ImportFile.__tablename__, ImportReport.__tablename__}
"""Tables with files of up to MAX_IMPORT_MB: their rows are copied one by one."""


_SET_NUMBER = (
    # The table has no key, and no row of a table that has not numbered a row yet.
    sa.text("DELETE FROM sqlite_sequence WHERE name = :name AND seq < :number"),
    sa.text(
        "INSERT INTO sqlite_sequence SELECT :name, :number "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name)"
    ),
)


def stored(table: sa.Table) -> sa.Table:
    """A table whose JSON texts are copied as the text that they are."""
    columns = (
        sa.Column(column.name, sa.Text() if isinstance(column.type, JsonText) else column.type)
        for column in table.columns
    )
    return sa.Table(table.name, sa.MetaData(), *columns)


def read(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Any]]:
    """The rows of a table in the order of its primary key: users come after those who made them."""
    raw = stored(table)
    statement = sa.select(raw).order_by(*(raw.c[column.name] for column in table.primary_key))
    rows_together = 1 if table.name in WITH_FILES else FETCH_ROWS
    yield from connection.execution_options(yield_per=rows_together).execute(statement)


def write(table: sa.Table, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows into a table of the current transaction."""
    raw = stored(table)
    names = [column.name for column in raw.columns]
    for part in ([row] for row in rows) if table.name in WITH_FILES else [rows]:
        write_rows(raw, names, part)


def load(source: sa.Connection, numbers: dict[str, int]) -> None:
    """Replace all rows of the current transaction's database by those of another; raises SQLAlchemyError.

    `numbers` are the last numbers that each table has given to a row: none is given again.
    """
    with _guards_off():
        for table in tables():
            write(table, read(source, table))
    _set_numbers(numbers)


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given to a row."""
    statement = "SELECT name, seq AS number FROM sqlite_sequence"
    if connection.dialect.name == "postgresql":
        statement = (
            "SELECT owned.relname AS name, coalesce(pg_sequence_last_value(numbers.oid), 0) AS number "
            "FROM pg_class AS numbers JOIN pg_depend ON objid = numbers.oid AND deptype IN ('a', 'i') "
            "JOIN pg_class AS owned ON owned.oid = refobjid "
            "WHERE numbers.relkind = 'S' AND owned.relnamespace = 'public'::regnamespace"
        )
    return {row.name: row.number for row in connection.execute(sa.text(statement))}


def finish(*, write_search_entries: bool) -> None:
    """Prepare restored rows for use, in the current transaction.

    Mail that was still waiting may have been sent since the backup: it is not sent again.
    """
    if write_search_entries:
        for resource in filter(is_searched, CATALOG.values()):
            rebuild_entries(resource)
    waiting = outbox.c.state.in_([MailState.QUEUED, MailState.SENDING])
    db.session.execute(
        sa.update(outbox)
        .where(waiting)
        .values(
            state=MailState.FAILED,
            content=None,
            error="The database was restored from a backup: the mail may have been sent before.",
            concluded_at=utcnow(),
        )
    )


@contextmanager
def _guards_off() -> Iterator[None]:
    """Empty all tables, and let the triggers rest meanwhile: they guard single changes, not a whole state."""
    names = [table.name for table in tables()]
    connection = db.session.connection()
    touch(*names, SEARCH_ENTRIES)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for name in names:
            connection.execute(sa.text(f'ALTER TABLE "{name}" DISABLE TRIGGER USER'))
        connection.execute(sa.text(f"TRUNCATE {', '.join([*names, SEARCH_ENTRIES])}"))
        yield
        # What the foreign keys still have to check must be checked before the tables are changed again.
        connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        for name in names:
            connection.execute(sa.text(f'ALTER TABLE "{name}" ENABLE TRIGGER USER'))
        return
    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    triggers = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for name, _ in triggers:
        connection.execute(sa.text(f'DROP TRIGGER "{name}"'))
    for name in reversed(names):
        connection.execute(sa.text(f'DELETE FROM "{name}"'))  # noqa: S608 - names of ours
    yield
    for _, statement in triggers:
        connection.exec_driver_sql(statement)


def _set_numbers(numbers: dict[str, int]) -> None:
    connection = db.session.connection()
    is_sqlite = connection.dialect.name == "sqlite"
    for table in tables():
        name = str(table.name)
        if is_sqlite:
            # What it has noted while the rows were written may be less.
            for statement in _SET_NUMBER:
                connection.execute(statement, {"name": name, "number": numbers.get(name, 0)})
        elif "id" in table.columns and (sequence := _sequence_of(connection, name)):
            largest = connection.scalar(sa.select(sa.func.max(table.c.id))) or 0
            last = max(largest, numbers.get(name, 0))
            connection.execute(sa.select(sa.func.setval(sequence, max(last, 1), last > 0)))


def _sequence_of(connection: sa.Connection, table: str) -> str | None:
    sequence: str | None = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table, "id")))
    return sequence
