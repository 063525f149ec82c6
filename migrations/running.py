"""Running migrations while the platform works: one migrator at a time, and no migration that others wait for.

A statement that changes a table waits for every transaction that uses it, and all later ones wait behind it. So it
gives up soon, and the migration is tried again: requests wait at most LOCK_SECONDS.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from psycopg import errors as postgres

from app.core.db.timeouts import MIGRATION_LOCK_SECONDS

LOCK_SECONDS = 1
"""How long a statement of a migration waits for a table; less than a request waits for a row."""
PAUSE_SECONDS = 2.0
"""In which others go on before the next attempt."""
ATTEMPTS = 30
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('itam migrations'))"


@contextmanager
def one_at_a_time(engine: sa.Engine) -> Iterator[None]:
    """Wait until no other process migrates the database, and keep others from it; SQLite has one writer anyway."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(_LOCK)
        yield
        connection.rollback()


def without_blocking(connection: sa.Connection, run: Callable[[], None]) -> None:
    """Call `run`, whose transactions give up a lock that they cannot get, until it has got all of them.

    What a transaction has committed stays: `run` must go on from there, as migrations do. Raises OperationalError
    after ATTEMPTS.
    """
    if connection.dialect.name != "postgresql":
        run()
        return
    connection.execution_options(**{MIGRATION_LOCK_SECONDS: LOCK_SECONDS})
    for attempt in range(1, ATTEMPTS + 1):
        try:
            run()
        except sa.exc.OperationalError as error:
            if attempt == ATTEMPTS or not isinstance(error.orig, postgres.LockNotAvailable):
                raise
            connection.rollback()
            time.sleep(PAUSE_SECONDS)
        else:
            return
