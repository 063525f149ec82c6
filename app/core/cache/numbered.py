"""Generations that the database keeps, as numbers of commits: no process needs anything else to read or to move them.

A commit moves the numbers of the tables that it has changed, in the same message. A request that reads learns those of
all tables together with who asks, so they are from before its own first query. See docs/decisions/0167.
"""

import threading
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa
import structlog
from flask import Flask, has_request_context
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from app.core.cache.generations import Generations, cache
from app.core.db.dialects.commit_protocol import CommitStatements, Ending
from app.core.db.dialects.registry import dialect_of
from app.core.db.prepared import Prepared, Question
from app.core.db.unit_of_work import db, unit_of_work

log = structlog.get_logger()


class NumberedGenerations(Generations):
    """The generations of tables whose commits the database numbers."""

    def __init__(self, statements: CommitStatements) -> None:
        super().__init__()
        self._statements = statements
        self._of_thread = _OfThread()

    def renew(self) -> None:
        if self._tables:
            self._run(self._statements.renewal(self._tables))

    def read(self, tables: Sequence[str], *keys: str) -> tuple[list[str] | None, list[Any]]:
        nothing = [None] * len(keys)
        if not self._are_trusted(tables):
            return None, nothing
        if self.ask_along():
            unit_of_work().settle()
        generations = self.known(tables)
        if generations is None:
            numbers = self._ask()
            generations = [numbers[table] for table in tables] if numbers.keys() >= set(tables) else None
        if generations is None or not keys:
            return generations, nothing
        return generations, cache.get_many(*keys) or nothing

    def known(self, tables: Sequence[str]) -> list[str] | None:
        work = unit_of_work()
        known = work.transaction.known_generations
        if not work.is_reading or not known.keys() >= set(tables) or not self._are_trusted(tables):
            return None
        return [known[table] for table in tables]

    def ask_along(self) -> bool:
        work = unit_of_work()
        question: Question[Any] | None = work.question  # type: ignore[assignment]
        if question is None or not self._tables:
            return False
        known = work.transaction.known_generations
        work.question = question.noting(self._column, lambda text: known.update(self._split(text)))
        return True

    def _ask(self) -> dict[str, str]:
        if not self._tables:
            return {}
        work = unit_of_work()
        if work.is_reading:
            numbers = self._split(self._query.rows({})[0][0])
        else:
            # Neither in the transaction that is open nor in one that would begin with this.
            with _autocommitting() as connection:
                numbers = self._split(connection.scalar(sa.select(self._column)))
        if has_request_context():
            work.transaction.known_generations.update(numbers)
        return numbers

    def _split(self, text: str | None) -> dict[str, str]:
        """The number of each table; none while a job commits."""
        return {} if text is None else dict(zip(self._tables, text.split(","), strict=True))

    def _hold(self, tables: set[str]) -> None:
        moved = self._numbered(tables)
        if moved:
            # Requests are answered after the commit, but a job's status is seen from the moment of the commit.
            is_seen_at_once = not has_request_context()
            connection = db.session.connection()
            ending = self._statements.move_at_commit(connection, moved, is_seen_at_once=is_seen_at_once)
            self._of_thread.moved, self._of_thread.ending = moved, ending

    def _move(self, tables: Sequence[str], _mark: str) -> bool:
        ending, self._of_thread.ending = self._of_thread.ending, None
        moved = self._of_thread.moved if ending is not None and ending.is_done else ()
        left = self._numbered(set(tables).difference(moved))
        return not left or self._run(self._statements.movement(left))

    def _run(self, statement: str) -> bool:
        try:
            with _autocommitting() as connection:
                connection.exec_driver_sql(statement)
        except (DBAPIError, NoConnection) as error:
            log.warning("generations_not_moved", error=repr(error))
            return False
        return True

    def _numbered(self, tables: Collection[str]) -> list[str]:
        return [table for table in self._tables if table in tables]

    @cached_property
    def _tables(self) -> tuple[str, ...]:
        """The tables that have numbers; nothing is cached that is read from another one."""
        with _autocommitting() as connection:
            return tuple(self._statements.numbered(connection))

    @cached_property
    def _column(self) -> sa.ColumnElement[str | None]:
        return self._statements.numbers(self._tables)

    @cached_property
    def _query(self) -> Prepared:
        return Prepared(sa.select(self._column))


def _autocommitting() -> sa.Connection:
    """A connection beside that of the block, whose statements are each by themselves."""
    return db.engine.connect().execution_options(access="read")


class _OfThread(threading.local):
    """What moves at the commit of a thread: the tables, and what is sent with it."""

    moved: Sequence[str] = ()
    ending: Ending | None = None


def init_app(app: Flask) -> None:
    """Use the numbers of the database, where it keeps them; a standby needs the positions that the cache's have."""
    statements = dialect_of(app.extensions["engine"]).commits
    if statements is not None and not app.config["DATABASE_REPLICA_URL"]:
        app.extensions["generations"] = NumberedGenerations(statements)
