"""PyMySQL's connection: it greets, leaves a silent server, and ends its own transactions."""

import time
from typing import Any, ClassVar

import pymysql
import pymysql.connections
from flask import has_request_context

from app.core.db.dialects.mariadb.errors import DOES_NOT_EXIST, drop_value
from app.core.db.dialects.mariadb.servers import Server, server_of
from app.core.db.dialects.mariadb.streaming import StreamingCursor
from app.core.db.dialects.silence import Silence
from app.core.db.timeouts import ANSWER_SECONDS, LOCK_SECONDS, LONG_ANSWER_SECONDS, SILENT_ANSWER_SECONDS

IN_TRANSACTION = 1
"""The bit of the server's status that says that a transaction is open."""


class Connection(pymysql.connections.Connection):
    """A connection that a request leaves when MariaDB does not answer in time, and that ends its own transactions.

    Timeouts of the server do not apply while the server is stopped.
    """

    silence: ClassVar = Silence()
    is_long = False
    """Whether statements may take LONG_ANSWER_SECONDS."""
    lock_seconds: float | None = LOCK_SECONDS
    """How long the server waits for a lock, as it was last told."""
    streaming: StreamingCursor | None = None
    """The cursor whose rows the server may still send."""
    at_end: tuple[str, ...] = ()
    """Statements that commit by themselves, to be sent after the end of the current transaction."""
    server: Server
    """What kind of server this is connected to."""

    def _get_server_information(self) -> None:
        """Read the server's greeting, and set what it is to be asked for. Raises UnsupportedServer."""
        super()._get_server_information()
        self.server = server = server_of(self.server_version)
        self.collation, self.sql_mode, self.init_command = server.collation, server.sql_mode, server.settings

    def _read_bytes(self, num_bytes: int) -> Any:
        seconds = self._answer_seconds() if has_request_context() else None
        # The driver has set the socket's timeout already, to that of the packet before.
        if seconds != self._current_timeout and self._sock is not None:
            self._sock.settimeout(seconds)
            self._current_timeout = self._read_timeout = seconds
        if seconds is None:
            return super()._read_bytes(num_bytes)
        began = time.monotonic()
        try:
            content = super()._read_bytes(num_bytes)
        except pymysql.err.OperationalError:
            # The driver's exception for this is that of a lost connection.
            if time.monotonic() >= began + seconds:
                self.silence.begin()
            raise
        self.silence.end()
        return content

    def _answer_seconds(self) -> float:
        return LONG_ANSWER_SECONDS if self.is_long else SILENT_ANSWER_SECONDS if self.silence else ANSWER_SECONDS

    def _read_query_result(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._read_query_result(*arguments, **options)
        except pymysql.MySQLError as error:
            drop_value(error)
            raise

    def _execute_command(self, *arguments: Any) -> None:
        if self.streaming is not None:
            streaming, self.streaming = self.streaming, None
            streaming.spool()
        super()._execute_command(*arguments)

    @property
    def is_in_transaction(self) -> bool:
        return bool((self.server_status or 0) & IN_TRANSACTION)

    def commit(self) -> None:
        """Commit, unless a change of this transaction has no audit record; nothing is sent outside of a transaction."""
        self._end_stream()
        if not self.is_in_transaction:
            return
        try:
            self.query("CALL commit_recorded()")
        except pymysql.err.OperationalError as error:
            # Before the first migration.
            if error.args[0] != DOES_NOT_EXIST:
                raise
            self.query("COMMIT")
        self._end()

    def rollback(self) -> None:
        self._end_stream()
        if self.is_in_transaction:
            self.query("ROLLBACK")
        self._end()

    def _end_stream(self) -> None:
        if self.streaming is not None:
            streaming, self.streaming = self.streaming, None
            streaming.discard()

    def _end(self) -> None:
        statements, self.at_end = self.at_end, ()
        for statement in statements:
            self.query(statement)
