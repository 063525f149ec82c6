"""A database for the duration of a benchmark, with the application on it: on PostgreSQL or on MariaDB."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from bench.scratch import mariadb, postgresql
from bench.scratch.base import PASSWORD, USERNAME, Scratch, Stored, application
from bench.scratch.postgresql import plain

__all__ = ["PASSWORD", "USERNAME", "Scratch", "Stored", "application", "plain", "scratch"]

_SERVERS: Mapping[str, Callable[[], AbstractContextManager[Scratch]]] = {
    "postgresql": postgresql.scratch,
    "mariadb": mariadb.scratch,
}


@contextmanager
def scratch(database: str = "postgresql") -> Iterator[Scratch]:
    """Create a database on a server of this kind, and drop it at the end."""
    if database not in _SERVERS:
        sys.exit(f"There is no benchmark on {database}: choose one of {', '.join(_SERVERS)}.")
    with _SERVERS[database]() as created:
        yield created
