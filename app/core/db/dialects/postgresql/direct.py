"""Statements that are sent to libpq without a cursor of psycopg, for `Prepared`; see docs/decisions/0160."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as numbers
from typing import Any, NoReturn

import psycopg
from psycopg import errors as postgres
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, fetch_many
from psycopg.pq import ExecStatus, TransactionStatus

from app.core.db.dialects.postgresql.cursors import plan
from app.core.db.dialects.protocol import Query
from app.core.db.measurement import count

Description = Sequence[tuple[Any, ...]]
Answer = tuple[list[Any], Description]
"""The rows of a query, and (None, type) of each column."""

PREPARED_AFTER = 5
"""Runs after which a statement is prepared, as psycopg does."""
MAX_STATEMENTS = 100
"""Statements that a connection remembers; those that it has not run for longest are forgotten."""

_SUCCESSES = frozenset((ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK))
_plan = partial(plan, kind=psycopg.RawCursor)


@dataclass(slots=True)
class Ending:
    """A statement that is sent with COMMIT, in one message, and is no part of the transaction."""

    statement: str
    is_locked: bool
    """Whether the session holds a lock that the statement releases."""
    is_done: bool = False


class _Statement:
    """A statement of a connection: its name, how often it has been run, and how its values are converted."""

    def __init__(self, connection: Any, text: str, parameters: int, name: str) -> None:
        self.content, self.name = text.encode(), name.encode()
        # As text, without types: PostgreSQL takes those of the casts, so that one plan serves small and large numbers.
        self.formats = [PyFormat.TEXT] * parameters
        self.transformer = Transformer(connection)
        self.description: Description | None = None
        self.runs = 0

    def send(self, pgconn: Any, values: Any, *, by_value: bool) -> None:
        if by_value or self.runs < PREPARED_AFTER:
            pgconn.send_query_params(self.content, values)
        else:
            pgconn.send_query_prepared(self.name, values)

    def read(self, result: Any) -> Answer:
        self.transformer.set_pgresult(result)
        if self.description is None:
            self.description = [(None, result.ftype(place)) for place in range(result.nfields)]
        return self.transformer.load_rows(0, result.ntuples, tuple), self.description


class DirectCursor:
    """Runs statements of one connection, with parameters `$1`, and keeps how each is converted.

    psycopg's cursor looks at the text, the types of the values and those of the columns each time: to read one server
    took 111 instead of 74 µs, of 770 of the whole request, which has two statements.

    PostgreSQL forgets prepared statements where psycopg tells it to, which is at rollbacks: `forget` says that.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.rowcount = -1
        self.postponed: str | None = None
        """What the next statement is sent together with: the BEGIN of its transaction."""
        self._statements: OrderedDict[str, _Statement] = OrderedDict()
        self._numbers = numbers()

    def fetch(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of queries, which are sent together. Raises psycopg.Error."""
        if self.postponed is not None:
            return self._begin_with(self.postponed, queries)
        began = time.perf_counter()
        arrived: list[tuple[Any, float]] = []
        try:
            return self.connection.wait(self._fetch(queries, arrived))  # type: ignore[no-any-return]
        finally:
            arrived += [(None, time.perf_counter())] * (len(queries) - len(arrived))
            for query, (result, ended) in zip(queries, arrived, strict=True):
                self.rowcount = -1 if result is None else result.ntuples or result.command_tuples or 0
                count(self, query.text, query.values, ended - began, _plan)
                began = ended

    def _begin_with(self, statement: str, queries: Sequence[Query]) -> list[Answer]:
        self.postponed = None
        try:
            return self.fetch([Query(statement, (), by_value=True), *queries])[1:]
        except psycopg.Error:
            # What is sent next must not be outside of the transaction.
            if self.connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self.postponed = statement
            raise

    def run(self, text: str) -> None:
        """Run a statement, or several, without values. Raises psycopg.Error."""
        began = time.perf_counter()
        self.rowcount = -1
        try:
            self.connection.wait(self._run(text))
        finally:
            count(self, text, None, time.perf_counter() - began, _plan)

    def commit(self, ending: Ending) -> None:
        """Commit together with a statement. Raises psycopg.Error where it has failed to commit."""
        try:
            self.connection.wait(self._commit(ending))
        finally:
            self.release(ending)

    def release(self, ending: Ending) -> None:
        """Release the lock where that was not done with a commit. If it fails, the lock ends with the connection."""
        if ending.is_locked and not ending.is_done:
            try:
                self.run(ending.statement)
            except psycopg.Error:
                self.connection.close()
            else:
                ending.is_done = True

    def run_postponed(self) -> None:
        """Begin the transaction by itself, for a statement that is sent in another way."""
        if self.postponed is not None:
            statement, self.postponed = self.postponed, None
            self.run(statement)

    def forget(self) -> None:
        """Prepare all statements again before they are run."""
        for statement in self._statements.values():
            statement.runs = min(statement.runs, PREPARED_AFTER - 1)

    def _fetch(self, queries: Sequence[Query], arrived: list[tuple[Any, float]]) -> PQGen[list[Answer]]:
        """`arrived` gets the result of each query and its time."""
        pgconn = self.connection.pgconn
        sent = []
        for query in queries:
            statement = yield from self._ready(query)
            sent.append((statement, statement.transformer.dump_sequence(query.values, statement.formats)))
        if len(queries) == 1:
            statement.send(pgconn, sent[0][1], by_value=query.by_value)
            (result,) = yield from execute(pgconn)
            arrived.append((result, time.perf_counter()))
        else:
            pgconn.enter_pipeline_mode()
            for query, (statement, values) in zip(queries, sent, strict=True):
                statement.send(pgconn, values, by_value=query.by_value)
            pgconn.pipeline_sync()
            (result,) = yield from execute(pgconn)
            arrived.append((result, time.perf_counter()))
            while len(arrived) < len(queries):
                (result,) = yield from fetch_many(pgconn)
                arrived.append((result, time.perf_counter()))
            yield from fetch_many(pgconn)  # the end of the pipeline
            pgconn.exit_pipeline_mode()
        for result, _ in arrived:
            if result.status not in _SUCCESSES:
                # Perhaps it was forgotten, or a migration has changed the types of its columns.
                self.forget()
                _raise(result)
        return [statement.read(result) for (statement, _), (result, _) in zip(sent, arrived, strict=True)]

    def _ready(self, query: Query) -> PQGen[_Statement]:
        """The statement of a query, which is prepared where it is due."""
        statement = self._statements.get(query.text)
        if statement is None:
            statement = yield from self._remember(query.text, len(query.values))
        else:
            self._statements.move_to_end(query.text)
        statement.runs += 1
        if statement.runs == PREPARED_AFTER and not query.by_value:
            pgconn = self.connection.pgconn
            # Where psycopg had nothing to forget, the server has one of this name still.
            pgconn.send_close_prepared(statement.name)
            yield from self._finish()
            pgconn.send_prepare(statement.name, statement.content)
            yield from self._finish()
        return statement

    def _remember(self, text: str, parameters: int) -> PQGen[_Statement]:
        if len(self._statements) >= MAX_STATEMENTS:
            _, oldest = self._statements.popitem(last=False)
            if oldest.runs >= PREPARED_AFTER - 1:
                self.connection.pgconn.send_close_prepared(oldest.name)
                yield from self._finish()
        name = f"itam_{next(self._numbers)}"
        statement = self._statements[text] = _Statement(self.connection, text, parameters, name)
        return statement

    def _run(self, text: str) -> PQGen[None]:
        self.connection.pgconn.send_query(text.encode())
        yield from self._finish()

    def _commit(self, ending: Ending) -> PQGen[None]:
        self.connection.pgconn.send_query(f"COMMIT; {ending.statement}".encode())
        committed, *others = yield from execute(self.connection.pgconn)
        if committed.status not in _SUCCESSES:
            _raise(committed)
        ending.is_done = all(result.status in _SUCCESSES for result in others)

    def _finish(self) -> PQGen[None]:
        """Wait for the results of what was sent; raises psycopg.Error where one is an error."""
        results: list[Any] = yield from execute(self.connection.pgconn)
        for result in results:
            if result.status not in _SUCCESSES:
                _raise(result)


def _raise(result: Any) -> NoReturn:
    raise postgres.error_from_result(result)
