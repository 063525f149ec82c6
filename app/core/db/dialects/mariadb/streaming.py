"""Cursors of PyMySQL that read rows as they are fetched, for results that are larger than memory."""

import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from app.core.db.dialects.mariadb.cursors import Cursor
from app.core.db.measurement import count_fetched

SPOOLED_BYTES = 1 << 20
SPOOLED_ROWS = 500
Row = Sequence[Any]


class StreamingCursor(Cursor, SSCursor):
    """A cursor whose rows the server still sends.

    The protocol has one result at a time: before the next statement of the connection, the rest of the rows is moved
    into a temporary file, from which it is fetched then.
    """

    _rest: Generator[Row, None, None] | None = None
    """The rows from the file."""

    def _query(self, q: Any) -> int:
        # The server counts the time until the last row is read: a long result has no limit but that of its reader.
        super()._query(self.connection.server.unlimited(q))
        if self._result is not None and self._result.unbuffered_active:
            # Not known before the last row is read. PyMySQL's own number for that is 2**64 - 1.
            self.rowcount = -1
        # A result without rows has ended.
        self.connection.streaming = self
        return self.rowcount

    def fetchmany(self, size: int | None = None) -> Any:
        return count_fetched(super().fetchmany(size))

    def fetchall(self) -> Any:
        return count_fetched(super().fetchall())

    def read_next(self) -> Row | None:
        if self._rest is not None:
            return next(self._rest, None)
        try:
            row: Row | None = super().read_next()
            return row
        except pymysql.MySQLError:
            if self._result is not None:
                # Nothing more will come.
                self._result.unbuffered_active = False
            raise

    def spool(self) -> None:
        """Read what the server still sends into a file."""
        if self._rest is not None or self._result is None or not self._result.unbuffered_active:
            return
        rest = _spooled(iter(self.read_next, None))
        # As far as the beginning: everything is in the file then.
        next(rest)
        self._rest = rest

    def discard(self) -> None:
        """Read and drop what the server still sends."""
        if self._result is not None and self._result.unbuffered_active:
            try:
                self._result._finish_unbuffered_query()
            except pymysql.MySQLError:
                # The next statement of the connection fails with the same error.
                self._result.unbuffered_active = False

    def close(self) -> None:
        if self.connection is not None:
            self.discard()
        if self._rest is not None:
            self._rest.close()
        super().close()

    __del__ = close


def _spooled(rows: Iterator[Row]) -> Generator[Row, None, None]:
    """Write rows into a file; yield an empty row when all are there, and then each.

    An error of the server is raised where its row would be: it is not that of the next statement.
    """
    failure: pymysql.MySQLError | None = None
    with SpooledTemporaryFile(SPOOLED_BYTES) as file:
        try:
            while part := list(islice(rows, SPOOLED_ROWS)):
                pickle.dump(part, file, pickle.HIGHEST_PROTOCOL)
        except pymysql.MySQLError as error:
            failure = error
        file.seek(0)
        yield ()
        with suppress(EOFError):
            while True:
                yield from pickle.load(file)  # noqa: S301 - written by this process
    if failure is not None:
        raise failure
