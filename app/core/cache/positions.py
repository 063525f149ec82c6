"""Which requests read from the standby: those that it answers as the primary would.

A commit publishes its position in PostgreSQL's log to all processes, and with the new generations of the tables that it
has changed. A request reads from the standby only where that has replayed every position that was published before the
request, so no request reads a state older than an acknowledged write; and its answer is cached only under generations
that are no newer than what it has read.
"""

import re
from collections.abc import Sequence

import sqlalchemy as sa
import structlog
from flask import Flask, request
from sqlalchemy.exc import DBAPIError

from app.core.cache.generations import generations_of_app, position_published, publish_position
from app.core.cache.replica import Replica, position_of_primary, read_from_primary, reads, replica_of_app
from app.core.db.unit_of_work import unit_of_work

log = structlog.get_logger()

HEADER = "X-Database-Position"
"""Sent with the answer of a write. A client that sends it back sees the write even where Redis has not told of it."""
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_MARK = "@"


class Reader:
    """Where a request reads: on the standby if that has replayed a position, else on the primary."""

    def __init__(self, replica: Replica, position: int) -> None:
        self._replica = replica
        self.position = position

    def __call__(self) -> sa.Connection | None:
        return self._replica.connection(self.position)


def read_from_replica() -> None:
    """Have what remains of a request that reads be asked of the standby, if there is one.

    Not what authenticates it: a session that has ended must not be valid a moment longer.
    """
    replica, work = replica_of_app(), unit_of_work()
    # Objects of a session stay with the connection on which they were read.
    if replica is None or work.reader is read_from_primary or work.has_session:
        return
    positions = position_published(), _position_sent()
    if None in positions:
        reads.labels("unknown").inc()
        return
    work.release()
    work.reader = Reader(replica, max(filter(None, positions), default=0))


def sees(generations: Sequence[str]) -> bool:
    """Whether what this request reads from now on is as new as these generations; it is moved to where that is so."""
    work = unit_of_work()
    reader = work.reader
    if not isinstance(reader, Reader):
        return True
    marks = [generation.partition(_MARK)[2] for generation in generations]
    position = max(map(int, marks)) if all(marks) else position_of_primary()
    if position > reader.position:
        if work.has_session:
            return False
        reader.position = position
        work.release()
    return True


def _move_generations(tables: set[str]) -> None:
    """Publish the position of a commit, and move the generations of the tables that it has changed."""
    mark = ""
    if replica_of_app() is not None:
        try:
            position = position_of_primary()
        except DBAPIError as error:
            # It is committed. Pages are then asked of the primary, until the next commit.
            log.warning("position_unknown", error=repr(error.orig))
        else:
            publish_position(position)
            _note_own(position)
            mark = f"{_MARK}{position}"
    generations_of_app().announce(tables, mark)


def _note_own(position: int) -> None:
    """Have this request read its own write, and the next one of its client, to which the position is sent."""
    work = unit_of_work()
    work.written_to = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
    if isinstance(work.reader, Reader):
        work.reader.position = max(work.reader.position, position)


def _position_sent() -> int | None:
    """The position that the client has sent, 0 without one; None where it cannot be read."""
    sent = request.headers.get(HEADER)
    if sent is None:
        return 0
    parts = _LSN.fullmatch(sent)
    return parts and (int(parts[1], 16) << 32 | int(parts[2], 16))


def init_app(app: Flask) -> None:
    url = app.config["DATABASE_REPLICA_URL"]
    app.extensions["replica"] = Replica(url) if url else None
    if url:
        app.extensions["tables_changed"] = _move_generations
