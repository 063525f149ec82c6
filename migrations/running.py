"""Running migrations while the platform works: one migrator at a time, and no migration that others wait for.

A statement that changes a table waits for every transaction that uses it, and all later ones wait behind it. So it
gives up soon, and the migration is tried again: requests wait at most LOCK_SECONDS.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from app.core.db.dialects.registry import dialect_of
from app.core.db.timeouts import MIGRATION_LOCK_SECONDS

LOCK_SECONDS = 1
"""How long a statement of a migration waits for a table; less than a request waits for a row."""
PAUSE_SECONDS = 2.0
"""In which others go on before the next attempt."""
ATTEMPTS = 30


@contextmanager
def one_at_a_time(engine: sa.Engine) -> Iterator[None]:
    """Wait until no other process migrates the database, and keep others from it."""
    with engine.connect() as connection, dialect_of(engine).connections.only_migrator(connection):
        yield


def without_blocking(connection: sa.Connection, run: Callable[[], None]) -> None:
    """Call `run`, whose transactions give up a lock that they cannot get, until it has got all of them.

    What a transaction has committed stays: `run` must go on from there, as migrations do. Raises OperationalError
    after ATTEMPTS.
    """
    dialect = dialect_of(connection)
    if not dialect.statements.HAS_ROW_LOCKS:
        run()
        return
    connection.execution_options(**{MIGRATION_LOCK_SECONDS: LOCK_SECONDS})
    for attempt in range(1, ATTEMPTS + 1):
        try:
            run()
        except sa.exc.OperationalError as error:
            if attempt == ATTEMPTS or error.orig is None or not dialect.errors.is_locked(error.orig):
                raise
            connection.rollback()
            time.sleep(PAUSE_SECONDS)
        else:
            return
