"""The statements of the search table on MySQL: MariaDB's, in its own collation."""

from collections.abc import Iterator

from app.core.db.dialects.mariadb import search_entries as mariadb
from app.core.db.dialects.mariadb.search_entries import lock, removal
from app.core.db.dialects.mysql.collation import collated
from app.core.db.search.declaration import Searched

__all__ = ["creation", "insertion", "lock", "removal", "triggers"]


def creation() -> Iterator[str]:
    """The statements that create the table, before its triggers."""
    yield from map(collated, mariadb.creation())


def triggers(searched: Searched) -> Iterator[str]:
    """The statements that create what keeps the entries of a table."""
    yield from map(collated, mariadb.triggers(searched))


def insertion(searched: Searched, row: str) -> str:
    """An INSERT of the entries of rows, up to its FROM clause."""
    return collated(mariadb.insertion(searched, row))
