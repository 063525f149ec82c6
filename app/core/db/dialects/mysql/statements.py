"""Statements over many rows on MySQL."""

# ruff: noqa: S608 - the statements consist of names of ours

import sqlalchemy as sa

from app.core.db.dialects.mariadb.compilers import sequence_of
from app.core.db.dialects.mariadb.statements import (
    HAS_LATERAL,
    HAS_ROW_LOCKS,
    MONEY_IN_CENTS,
    PARAMSTYLE,
    TIMES_HAVE_ZONES,
    WITH_MAY_WRITE,
    among,
    any_of,
    fetch,
    insert_missing,
    insert_or_lock,
    listed,
    planned_by_value,
    running_transactions,
    select_next_id,
    update_versions,
    write_rows,
)

__all__ = [
    "HAS_LATERAL",
    "HAS_ROW_LOCKS",
    "MONEY_IN_CENTS",
    "PARAMSTYLE",
    "TIMES_HAVE_ZONES",
    "WITH_MAY_WRITE",
    "allocate_ids",
    "among",
    "any_of",
    "fetch",
    "insert_missing",
    "insert_or_lock",
    "listed",
    "planned_by_value",
    "running_transactions",
    "select_next_id",
    "update_versions",
    "write_rows",
]


def allocate_ids(connection: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """Reserve new ids of a table: those of rows of its sequence, which are taken back. No number is given twice."""
    if count == 0:
        return []
    name = sequence_of(table.name)
    # Deleted, the rows of another transaction that is open would be waited for: they are beside the last one.
    with connection.begin_nested() as savepoint:
        inserted = connection.exec_driver_sql(f"INSERT INTO {name} VALUES {', '.join(['(NULL)'] * count)}")
        first: int = inserted.lastrowid
        savepoint.rollback()
    # The numbers of one INSERT follow each other; in a cluster each server leaves out those of the others.
    step: int = connection.exec_driver_sql("SELECT @@auto_increment_increment").scalar_one()
    return list(range(first, first + count * step, step))


def is_numbered_ahead(table: sa.Table) -> bool:
    """Whether ids of a table are reserved before its rows are written: of what clients see, which has versions."""
    return table.autoincrement_column is not None and {"version", "updated_at"} <= set(table.columns.keys())
