"""Copying all rows from one database to another, in the types of the models: the two may be of different kinds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.backup.scratch import DERIVED, tables
from app.catalog import CATALOG
from app.core.db.counters.maintenance import rebuild_counters
from app.core.db.counters.models import counted_models
from app.core.db.dialects.registry import current_dialect, dialect_of
from app.core.db.models import JsonText
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
    restoring, connection = current_dialect().restoring, db.session.connection()
    names = [table.name for table in tables()]
    touch(*names, *DERIVED)
    with restoring.emptied(connection, names, DERIVED):
        for table in tables():
            write(table, read(source, table))
    for table in tables():
        restoring.set_last_number(connection, table, numbers.get(table.name, 0))


def last_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given to a row."""
    return dialect_of(connection).restoring.last_numbers(connection)


def finish(*, write_derived: bool) -> None:
    """Prepare restored rows for use, in the current transaction.

    Mail that was still waiting may have been sent since the backup: it is not sent again.
    """
    if write_derived:
        for resource in filter(is_searched, CATALOG.values()):
            rebuild_entries(resource)
        for model in counted_models():
            rebuild_counters(model)
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
