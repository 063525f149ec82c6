"""What a database does that numbers the commits which change a table."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import sqlalchemy as sa


class Ending(Protocol):
    """What is done with a commit."""

    is_done: bool


class CommitStatements(Protocol):
    """Statements about the numbers of commits that have changed tables, see app.core.cache.numbered."""

    def creation(self, table: str, /) -> Iterator[str]:
        """The statements that create the number of a table."""

    def removal(self, table: str, /) -> Iterator[str]:
        """The statements that remove it."""

    def numbered(self, connection: sa.Connection, /) -> Sequence[str]:
        """The tables that have numbers."""

    def numbers(self, tables: tuple[str, ...], /) -> sa.ColumnElement[str | None]:
        """The numbers of tables, separated by commas; NULL while a job commits."""

    def movement(self, tables: Iterable[str], /) -> str:
        """The statement that moves the numbers of tables on."""

    def renewal(self, tables: Iterable[str], /) -> str:
        """The statement that gives tables numbers that they have never had, whatever backup they come from."""

    def move_at_commit(self, connection: sa.Connection, tables: Iterable[str], /, *, is_seen_at_once: bool) -> Ending:
        """Have the commit of a transaction move the numbers of tables on.

        `is_seen_at_once`: what says that it is committed may be seen before the commit returns.
        """
