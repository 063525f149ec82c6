"""The sessions that a server of databases has open: ended, or waited for, from a session of the test's own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from tests import mariadb

OWN = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
WAITING = {
    "postgresql": (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '{kind}' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ),
    # The locks of rows are shown to users with the privilege PROCESS.
    "mariadb": (
        "SELECT count(*) FROM information_schema.processlist LEFT JOIN information_schema.innodb_trx "
        "ON trx_mysql_thread_id = id WHERE db = database() AND (state LIKE '{kind}' OR trx_state = '{kind}')"
    ),
}
ROW, TABLE, ADVISORY = "row", "table", "advisory"
_KINDS = {
    "postgresql": {ROW: "transactionid", TABLE: "relation", ADVISORY: "advisory"},
    "mariadb": {ROW: "LOCK WAIT", TABLE: "Waiting for table%", ADVISORY: "User lock"},
}


def number_of_session(connection: sa.Connection) -> int:
    """The number by which the server knows the session of a connection."""
    number: int = connection.exec_driver_sql(OWN[connection.engine.url.get_backend_name()]).scalar_one()
    return number


def is_waiting(engine: sa.Engine, kind: str) -> bool:
    """Whether a session of the database waits for a lock of this kind: ROW, TABLE or ADVISORY."""
    name = engine.url.get_backend_name()
    query = WAITING[name].format(kind=_KINDS[name][kind])
    with _session(engine.url) as execute:
        return bool(execute(query)[0][0])


def end_session(url: sa.URL, number: int) -> None:
    """Have the server end a session, and return when it has."""
    with _session(url) as execute:
        if url.get_backend_name() == "postgresql":
            execute(f"SELECT pg_terminate_backend({number}, 5000)")
            return
        execute(f"KILL CONNECTION {number}")
        while execute(f"SELECT 1 FROM information_schema.processlist WHERE id = {number}"):
            pass


def end_all_sessions(url: sa.URL) -> None:
    """Have the server end all sessions of the database but those of the tests themselves."""
    if url.get_backend_name() == "postgresql":
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name <> 'tests'"
        )
    else:
        # The session of the tests holds the lock that says that their run lives.
        query = (
            "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id() "
            "AND id <> coalesce(is_used_lock(database()), 0)"
        )
    with _session(url) as execute:
        numbers = [number for (number,) in execute(query)]
    for number in numbers:
        end_session(url, number)


@contextmanager
def _session(url: sa.URL) -> Iterator[Any]:
    """Calls a statement, and returns its rows."""
    if url.get_backend_name() == "postgresql":
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            yield lambda query: connection.execute(query.encode()).fetchall()
        return
    with closing(mariadb.connect(url)) as server:
        mariadb.run(server, f"USE `{url.database}`")
        yield lambda query: mariadb.run(server, query)
