"""A standby of PostgreSQL that answers reads, once it has replayed what a read must see.

A position is a place in PostgreSQL's log of writes (LSN), as an integer. Where the standby is away, behind, or was
promoted, the primary answers.
"""

import threading
import time
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from app.core.db.dialects.postgresql.connections import replica_listeners
from app.core.db.dialects.postgresql.kept_connections import take
from app.core.db.engines import engine_options
from app.core.db.listeners import attach_to_connections
from app.core.db.unit_of_work import db, unit_of_work
from app.core.request_context import current_application

log = structlog.get_logger()

PAUSE_SECONDS = 5.0
"""How long no request is sent to a standby that has failed; after that one at a time tries it."""
CONNECT_SECONDS = 2
MAX_LAG_BYTES = 16 * 2**20
"""A standby that is further behind than one file of PostgreSQL's log is late."""

# Not what is written to the disk: a commit that does not wait for it is not yet there.
_WRITTEN = "SELECT CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS bigint)"
# Nothing where it has been promoted: then it is another primary.
_REPLAYED = "SELECT CAST(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS bigint) WHERE pg_is_in_recovery()"

reads = Counter("itam_replica_reads", "Requests that might read from the standby, and where they did.", ["result"])


class Replica:
    """The standby of an application: a pool of connections with a circuit breaker."""

    def __init__(self, url: str) -> None:
        options = engine_options(url)
        options["connect_args"] = {**options["connect_args"], "connect_timeout": CONNECT_SECONDS}
        self._engine = sa.create_engine(url, **options)
        attach_to_connections(self._engine, replica_listeners(self._leave))
        self._paused_until = 0.0
        self._has_failed = False
        self._trial = threading.Lock()

    def connection(self, position: int) -> sa.Connection | None:
        """A connection that sees all that was written up to a position; None where the primary is to be asked."""
        result, connection = self._try(position)
        reads.labels(result).inc()
        return connection

    def state(self) -> tuple[Literal["ok", "late", "down"], int]:
        """The state of the standby, and how many bytes it is behind the primary; raises DBAPIError of the primary."""
        position = position_of_primary()
        try:
            with self._engine.connect() as connection:
                replayed = _ask(connection)
        except (DBAPIError, NoConnection):
            return "down", 0
        if replayed is None:
            return "down", 0
        lag = max(0, position - replayed)
        return ("late" if lag > MAX_LAG_BYTES else "ok"), lag

    def close(self) -> None:
        self._engine.dispose()

    def _try(self, position: int) -> tuple[str, sa.Connection | None]:
        if time.monotonic() < self._paused_until:
            return "away", None
        # To try a standby that does not answer takes seconds, which no more than one request is to wait.
        is_trial = self._has_failed
        if is_trial and not self._trial.acquire(blocking=False):
            return "away", None
        connection = None
        try:
            connection = take(self._engine, "read")
            if _has_replayed(connection, position):
                self._note_success()
                return "replica", connection
            connection.close()
            return "behind", None
        except (DBAPIError, NoConnection) as error:
            if connection is not None:
                connection.close()
            self._pause(error)
            return "away", None
        finally:
            if is_trial:
                self._trial.release()

    def _note_success(self) -> None:
        if self._has_failed:
            self._has_failed = False
            log.info("replica_back")

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        if not self._has_failed:
            log.warning("replica_away", error=repr(getattr(error, "orig", error)))
        self._has_failed = True

    def _leave(self, context: sa.engine.ExceptionContext) -> DBAPIError:
        """Listener: have a block that has failed on the standby be run again on the primary, whatever the error.

        It is raised as that of a lost connection, after which a block that reads is repeated.
        """
        cause: Any = context.original_exception
        unit_of_work().reader = read_from_primary
        if context.is_disconnect or isinstance(cause, psycopg.OperationalError):
            self._pause(cause)
        return DBAPIError(context.statement, None, cause, hide_parameters=True, connection_invalidated=True)


def read_from_primary() -> None:
    """The reader of a request that has failed on the standby: it does not try it again."""


def position_of_primary() -> int:
    """A position that no earlier commit is behind; raises DBAPIError."""
    with db.engine.connect().execution_options(access="read") as connection:
        position: int = connection.exec_driver_sql(_WRITTEN).scalar_one()
        return position


def _has_replayed(connection: sa.Connection, position: int) -> bool:
    """Whether a connection sees what was written up to a position; raises DBAPIError.

    Each remembers how far it has been: another may lead to a standby that was restarted or built anew.
    """
    driver: Any = connection.connection.driver_connection
    if driver.replayed < position:
        driver.replayed = _ask(connection) or -1
    return bool(driver.replayed >= position)


def _ask(connection: sa.Connection) -> int | None:
    return connection.exec_driver_sql(_REPLAYED).scalar_one_or_none()


def replica_of_app() -> Replica | None:
    """The standby of the current application, if it has one."""
    replica: Replica | None = current_application().extensions["replica"]
    return replica
