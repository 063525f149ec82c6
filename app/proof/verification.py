"""Verifying the log of a database: records, leaves, checkpoints, what is kept outside, and the live rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from app.core.audit.mac import keyring
from app.core.audit.models import STORED
from app.core.db.unit_of_work import db, reading
from app.core.values import utcnow
from app.proof import live, outside, sealer
from app.proof.checkpoints import Verifier
from app.proof.findings import Kind, Report
from app.proof.merkle import Frontier
from app.proof.models import checkpoints, leaves
from app.proof.records import RAW, content_of
from app.proof.sealer import CannotSeal, file_outside, verifiers
from app.proof.signed import Checkpoints, Row
from app.proof.walk import Before, Links, Walk

AT_ONCE = 2_000
"""Rows that are fetched together."""


def verify(*, newest: int | None = None) -> Report:
    """Verify the whole log and all live rows, or about the `newest` so many records only.

    Takes memory for some thousand rows, however long the log is, and sees one moment of it: what is written
    meanwhile neither disturbs nor is disturbed.
    """
    report = Report()
    try:
        with reading():
            path, known = file_outside(), verifiers()
    except CannotSeal as error:
        report.find(Kind.LOG_REWRITTEN, str(error))
        return report
    # Before the snapshot: each checkpoint outside was committed before it was written there.
    kept = outside.state(path)
    with snapshot() as connection:
        start = _start(connection, newest)
        _verify_log(connection, report, start, kept, known)
        if report.first == 0:
            _find_copies(connection, report)
            live.compare(connection, report)
    return report


def _verify_log(
    connection: sa.Connection, report: Report, start: Frontier, kept: outside.State, known: list[Verifier]
) -> None:
    sealed = sa.select(sa.func.max(checkpoints.c.size), sa.func.min(checkpoints.c.sealed_at))
    newest, since = connection.execute(sealed).one()
    # The first one is written outside a moment after its commit.
    if newest and not kept.length and utcnow() - since > sealer.LATE:
        report.doubt(f"{kept.path.name} is not there, without which nobody sees that all of the log was rolled back.")
    report.first = start.size
    rows = (Row(*row) for row in stream(connection, _checkpoints_from(start.size)))
    lines = (line for line in outside.lines(kept) if line.size >= report.first)
    signed = Checkpoints(report, known).believed(rows, lines, kept.size)
    links = Links(report, keyring())
    walk = Walk(report, links, start, signed)
    for position, record_id, found, before_id, before_mac, *row in stream(connection, _sealed_from(start.size)):
        content = None if row[0] is None else content_of(row)
        walk.step(position, record_id, found, content, Before(before_id, before_mac))
    report.size = walk.position
    walk.finish(newest or 0)
    for before_id, before_mac, *row in stream(connection, _unsealed()):
        links.check(content_of(row), Before(before_id, before_mac), None)
        report.records += 1
        report.unsealed += 1


@contextmanager
def snapshot() -> Iterator[sa.Connection]:
    """A connection that sees one moment, and hinders nobody."""
    with db.engine.connect().execution_options(access="snapshot") as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        yield connection


def _start(connection: sa.Connection, newest: int | None) -> Frontier:
    """Where to begin: at the last checkpoint before the newest records, or with nothing."""
    if newest is None:
        return Frontier()
    size = connection.scalar(sa.select(sa.func.max(leaves.c.position))) or 0
    before = sa.select(checkpoints.c.size, checkpoints.c.frontier).where(checkpoints.c.size <= size - newest)
    row = connection.execute(before.order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    try:
        # That it is the one that was signed is seen where its checkpoint is read.
        return Frontier() if row is None else Frontier(*row)
    except ValueError:
        return Frontier()


def stream(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    """The rows of a statement, fetched some at a time."""
    yield from connection.execution_options(yield_per=AT_ONCE).execute(statement)


def _checkpoints_from(size: int) -> sa.Select[Any]:
    table = checkpoints.c
    return sa.select(table.size, table.note, table.frontier).where(table.size >= size).order_by(table.size)


_before = STORED.alias("before")
_is_before = sa.and_(
    _before.c.resource_type == STORED.c.resource_type,
    _before.c.resource_id == STORED.c.resource_id,
    _before.c.version == STORED.c.version - 1,
)


def _sealed_from(position: int) -> sa.Select[Any]:
    joined = leaves.outerjoin(STORED, STORED.c.id == leaves.c.record_id).outerjoin(_before, _is_before)
    return (
        sa.select(leaves.c.position, leaves.c.record_id, leaves.c.hash, _before.c.id, _before.c.mac, *RAW)
        .select_from(joined)
        .where(leaves.c.position >= position)
        .order_by(leaves.c.position)
    )


def _unsealed() -> sa.Select[Any]:
    sealed = sa.select(leaves.c.record_id).where(leaves.c.record_id == STORED.c.id)
    return (
        sa.select(_before.c.id, _before.c.mac, *RAW)
        .select_from(STORED.outerjoin(_before, _is_before))
        .where(~sealed.exists())
        .order_by(STORED.c.id)
    )


def _find_copies(connection: sa.Connection, report: Report) -> None:
    """Report events that are there twice: an event is linked to nothing, so a copy of it has the right MAC."""
    log = STORED.c
    twice = (
        sa.select(sa.func.max(log.id))
        .where(log.version.is_(None), log.mac.is_not(None))
        .group_by(log.mac)
        .having(sa.func.count() > 1)
        .order_by(sa.func.max(log.id))
    )
    for record_id in connection.scalars(twice):
        report.find(Kind.RECORD_INSERTED, "The record is a copy of another one.", record_id=record_id)
