"""Statements that are sent to libpq without a cursor of psycopg, for `Prepared`; see docs/decisions/0160."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import count as numbers
from typing import Any, NoReturn

import psycopg
from psycopg import errors as postgres
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus

from app.core.db.dialects.postgresql.cursors import plan
from app.core.db.measurement import count

Description = Sequence[tuple[Any, ...]]

PREPARED_AFTER = 5
"""Runs after which a statement is prepared, as psycopg does."""
MAX_STATEMENTS = 100
"""Statements that a connection remembers; those that it has not run for longest are forgotten."""

_SUCCESSES = frozenset((ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK))
_plan = partial(plan, kind=psycopg.RawCursor)


class _Statement:
    """A statement of a connection: its name, how often it has been run, and how its values are converted."""

    def __init__(self, connection: Any, text: str, parameters: int, name: str) -> None:
        self.content, self.name = text.encode(), name.encode()
        # As text, without types: PostgreSQL takes those of the casts, so that one plan serves small and large numbers.
        self.formats = [PyFormat.TEXT] * parameters
        self.transformer = Transformer(connection)
        self.description: Description | None = None
        self.runs = 0


class DirectCursor:
    """Runs statements of one connection, with parameters `$1`, and keeps how each is converted.

    psycopg's cursor looks at the text, the types of the values and those of the columns each time: to read one server
    took 111 instead of 74 µs, of 770 of the whole request, which has two statements.

    PostgreSQL forgets prepared statements where psycopg tells it to, which is at rollbacks: `forget` says that.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.rowcount = -1
        self._statements: OrderedDict[str, _Statement] = OrderedDict()
        self._numbers = numbers()

    def fetch(self, text: str, values: Sequence[Any], *, by_value: bool) -> tuple[list[Any], Description]:
        """The rows of a statement, and (None, type) of each column. Raises psycopg.Error."""
        began = time.perf_counter()
        self.rowcount = -1
        try:
            return self.connection.wait(self._fetch(text, values, by_value=by_value))  # type: ignore[no-any-return]
        finally:
            count(self, text, values, time.perf_counter() - began, _plan)

    def run(self, text: str) -> None:
        """Run a statement, or several, without values. Raises psycopg.Error."""
        began = time.perf_counter()
        self.rowcount = -1
        try:
            self.connection.wait(self._run(text))
        finally:
            count(self, text, None, time.perf_counter() - began, _plan)

    def forget(self) -> None:
        """Prepare all statements again before they are run."""
        for statement in self._statements.values():
            statement.runs = min(statement.runs, PREPARED_AFTER - 1)

    def _fetch(self, text: str, values: Sequence[Any], *, by_value: bool) -> PQGen[tuple[list[Any], Description]]:
        pgconn = self.connection.pgconn
        statement = self._statements.get(text)
        if statement is None:
            statement = yield from self._remember(text, len(values))
        else:
            self._statements.move_to_end(text)
        transformer = statement.transformer
        bound = transformer.dump_sequence(values, statement.formats)
        statement.runs += 1
        if by_value or statement.runs < PREPARED_AFTER:
            pgconn.send_query_params(statement.content, bound)
        else:
            if statement.runs == PREPARED_AFTER:
                # Where psycopg had nothing to forget, the server has one of this name still.
                pgconn.send_close_prepared(statement.name)
                yield from self._finish()
                pgconn.send_prepare(statement.name, statement.content)
                yield from self._finish()
            pgconn.send_query_prepared(statement.name, bound)
        (result,) = yield from execute(pgconn)
        if result.status not in _SUCCESSES:
            # Perhaps it was forgotten, or a migration has changed the types of its columns.
            self.forget()
            _raise(result)
        transformer.set_pgresult(result)
        if statement.description is None:
            statement.description = [(None, result.ftype(place)) for place in range(result.nfields)]
        self.rowcount = result.ntuples or result.command_tuples or 0
        return transformer.load_rows(0, result.ntuples, tuple), statement.description

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

    def _finish(self) -> PQGen[None]:
        """Wait for the results of what was sent; raises psycopg.Error where one is an error."""
        results: list[Any] = yield from execute(self.connection.pgconn)
        for result in results:
            if result.status not in _SUCCESSES:
                _raise(result)


def _raise(result: Any) -> NoReturn:
    raise postgres.error_from_result(result)
