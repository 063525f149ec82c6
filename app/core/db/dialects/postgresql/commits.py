"""Numbers of commits: a sequence for each table, which every commit that has changed the table moves on.

A sequence belongs to no transaction: it moves at once, and no writer waits for another one. It is read with the first
statement of a request, for which no process needs anything but the database; see docs/decisions/0167.
"""

import functools
import time
from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from app.core.db.dialects.postgresql.direct import Ending
from app.core.db.dialects.postgresql.driver import Connection

LOCK = 4_831_502
"""The key of the advisory lock that a commit of a job holds until the numbers have moved on."""
_TRY_LOCK = sa.text(f"SELECT pg_try_advisory_lock({LOCK})")
_SUFFIX = "_commits"
# Other accounts may create sequences of any name: one counts only if its table is there and has the same owner.
_NUMBERED = sa.text(
    "SELECT changed.relname FROM pg_class AS changed JOIN pg_class AS numbers"
    " ON numbers.relnamespace = changed.relnamespace AND numbers.relowner = changed.relowner"
    " AND numbers.relname = changed.relname || :suffix AND numbers.relkind = 'S'"
    " WHERE changed.relkind = 'r' AND pg_table_is_visible(changed.oid) ORDER BY changed.relname"
)
LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 500, 0.001


def creation(table: str) -> Iterator[str]:
    """The statements that create the number of a table."""
    yield f"CREATE SEQUENCE {_number(table)}"
    yield renewal([table])


def removal(table: str) -> Iterator[str]:
    """The statements that remove it."""
    yield f"DROP SEQUENCE IF EXISTS {_number(table)}"


def numbered(connection: sa.Connection) -> Sequence[str]:
    """The tables that have numbers."""
    names: Sequence[str] = connection.scalars(_NUMBERED, {"suffix": _SUFFIX}).all()
    return names


@functools.cache
def numbers(tables: tuple[str, ...]) -> sa.ColumnElement[str | None]:
    """The numbers of tables, separated by commas; NULL while a job commits.

    The lock is tried first: a job whose commit can be seen by then still holds it, or has moved the numbers. With
    pg_sequence_last_value, which the view pg_sequences calls, twelve take 8 µs; as subqueries they would take 28.
    """
    values = ", ".join(f"pg_sequence_last_value('{_number(table)}')" for table in tables)
    return sa.literal_column(
        f"CASE WHEN pg_try_advisory_lock_shared({LOCK}) AND pg_advisory_unlock_shared({LOCK}) "
        f"THEN concat_ws(',', {values}) END",
        sa.Text(),
    )


def movement(tables: Iterable[str]) -> str:
    """The statement that moves the numbers of tables on."""
    calls = ", ".join(f"nextval('{_number(table)}')" for table in tables)
    return f"SELECT {calls}"


def renewal(tables: Iterable[str]) -> str:
    """The statement that gives tables numbers that they have never had, whatever backup they come from: microseconds.

    No table has a million commits a second.
    """
    now = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    values = ((name, f"greatest(pg_sequence_last_value('{name}') + 1, {now})") for name in map(_number, tables))
    calls = ", ".join(f"setval('{name}', {value})" for name, value in values)
    return f"SELECT {calls}"


def move_at_commit(connection: sa.Connection, tables: Iterable[str], *, is_seen_at_once: bool) -> Ending:
    """Have the commit of a transaction move the numbers of tables on, in the same message.

    `is_seen_at_once`: what says that it is committed may be seen before the commit returns. Nobody may read the numbers
    then until they have moved.
    """
    is_locked = is_seen_at_once and _lock(connection)
    ending = Ending(movement(tables) + (f", pg_advisory_unlock({LOCK})" if is_locked else ""), is_locked)
    driver: Connection = connection.connection.driver_connection  # type: ignore[assignment]
    driver.ending = ending
    return ending


def _lock(connection: sa.Connection) -> bool:
    """Take the lock from readers, who have it for microseconds, and from other jobs.

    Any account that can connect may hold it, so nobody waits for it long.
    """
    for _ in range(LOCK_ATTEMPTS):
        if connection.scalar(_TRY_LOCK):
            return True
        time.sleep(LOCK_PAUSE_SECONDS)
    return False


def _number(table: str) -> str:
    return table + _SUFFIX
