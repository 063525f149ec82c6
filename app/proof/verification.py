"""Verification of the log of a database: records, leaves, checkpoints, the checkpoint file, and the live rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.audit import event_chains
from app.core.audit.event_chains import DamagedHeads, Head
from app.core.audit.mac import keyring
from app.core.audit.models import STORED
from app.core.db.dialects.registry import dialect_of
from app.core.db.unit_of_work import db, reading
from app.core.values import utcnow
from app.proof import sealer
from app.proof.checkpoint_verifier import CheckpointVerifier, StoredCheckpoint
from app.proof.checkpoints import VerifierKey
from app.proof.event_verifier import EventVerifier, PreviousRecord
from app.proof.live_rows import compare_rows
from app.proof.merkle import Frontier
from app.proof.models import checkpoints, leaves
from app.proof.outside.checkpoint_log import Extent
from app.proof.records import RAW_COLUMNS, content_of
from app.proof.report import FindingKind, Report
from app.proof.sealer import CannotSeal, checkpoint_log, log_name, verifier_keys
from app.proof.tree_verifier import MacVerifier, TreeVerifier

FETCH_ROWS = 2_000
"""Rows that are fetched together."""


class Outside(NamedTuple):
    """What is kept outside the database."""

    checkpoints: Extent
    event_heads: list[Head]


def verify(*, newest: int | None = None) -> Report:
    """Verify the whole log and all live rows, or only the log from the last checkpoint before its `newest` records.

    It holds some thousand rows in memory, however long the log is, and reads one snapshot, so that it and concurrent
    writers do not affect each other.
    """
    report = Report()
    try:
        with reading():
            name, external_log, keys = log_name(), checkpoint_log(), verifier_keys()
    except CannotSeal as error:
        report.add(FindingKind.LOG_REWRITTEN, str(error))
        return report
    try:
        for doubt in sealer.check_other_logs(external_log):
            report.add_doubt(doubt)
    except CannotSeal as error:
        report.add(FindingKind.LOG_REWRITTEN, str(error))
    # Read before the snapshot: what is in the files was committed earlier, so the snapshot has it.
    outside = Outside(external_log.measure(), _read_heads(name, report))
    with snapshot() as connection:
        start = _start(connection, newest)
        _verify_log(connection, report, start, outside, keys)
        if report.first == 0:
            _report_copies(connection, report)
            compare_rows(connection, report)
    return report


def _read_heads(name: str, report: Report) -> list[Head]:
    try:
        return event_chains.read(name)
    except DamagedHeads as error:
        report.add_doubt(f"{event_chains.heads_path(name).name}: {error} Move it out of the folder.")
        return []


def _verify_log(
    connection: sa.Connection, report: Report, start: Frontier, outside: Outside, keys: list[VerifierKey]
) -> None:
    extent = outside.checkpoints
    sealed = sa.select(sa.func.max(checkpoints.c.size), sa.func.min(checkpoints.c.sealed_at))
    newest, first_sealed_at = connection.execute(sealed).one()
    # The first checkpoint is written to the file a moment after its commit.
    if newest and extent.is_empty and utcnow() - first_sealed_at > sealer.LATE_AFTER:
        report.add_doubt(f"{extent.name} is missing: without it a rollback of the whole log cannot be noticed.")
    report.first = start.size
    stored = (StoredCheckpoint(*row) for row in stream(connection, _select_checkpoints(start.size)))
    entries = (entry for entry in extent.entries() if entry.size >= report.first)
    signed = CheckpointVerifier(report, keys).select_signed(stored, entries, extent.size)
    events = EventVerifier(report, connection)
    macs = MacVerifier(report, keyring(), events)
    tree = TreeVerifier(report, macs, start, signed)
    for position, record_id, leaf, previous_id, previous_mac, *row in stream(connection, _select_sealed(start.size)):
        content = None if row[0] is None else content_of(row)
        tree.add(position, record_id, leaf, content, PreviousRecord(previous_id, previous_mac))
    report.size = tree.position
    tree.finish(newest or 0)
    for previous_id, previous_mac, *row in stream(connection, _select_unsealed()):
        macs.verify(content_of(row), PreviousRecord(previous_id, previous_mac), None)
        report.records += 1
        report.unsealed += 1
    events.finish(outside.event_heads)


@contextmanager
def snapshot() -> Iterator[sa.Connection]:
    """A connection that reads one snapshot and blocks no writer."""
    with db.engine.connect().execution_options(access="snapshot") as connection:
        dialect_of(connection).connections.lift_timeout(connection)
        yield connection


def _start(connection: sa.Connection, newest: int | None) -> Frontier:
    """The tree at the last checkpoint before the newest records; empty for the whole log."""
    if newest is None:
        return Frontier()
    size = connection.scalar(sa.select(sa.func.max(leaves.c.position))) or 0
    statement = sa.select(checkpoints.c.size, checkpoints.c.frontier).where(checkpoints.c.size <= size - newest)
    row = connection.execute(statement.order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    try:
        # CheckpointVerifier compares its root with the signed one.
        return Frontier() if row is None else Frontier(*row)
    except ValueError:
        return Frontier()


def stream(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    """The rows of a statement, FETCH_ROWS at a time."""
    yield from connection.execution_options(yield_per=FETCH_ROWS).execute(statement)


def _select_checkpoints(size: int) -> sa.Select[Any]:
    table = checkpoints.c
    return sa.select(table.size, table.note, table.frontier).where(table.size >= size).order_by(table.size)


_previous = STORED.alias("previous")
_is_previous = sa.and_(
    _previous.c.resource_type == STORED.c.resource_type,
    _previous.c.resource_id == STORED.c.resource_id,
    _previous.c.version == STORED.c.version - 1,
)


def _select_sealed(position: int) -> sa.Select[Any]:
    joined = leaves.outerjoin(STORED, STORED.c.id == leaves.c.record_id).outerjoin(_previous, _is_previous)
    return (
        sa.select(leaves.c.position, leaves.c.record_id, leaves.c.hash, _previous.c.id, _previous.c.mac, *RAW_COLUMNS)
        .select_from(joined)
        .where(leaves.c.position >= position)
        .order_by(leaves.c.position)
    )


def _select_unsealed() -> sa.Select[Any]:
    sealed = sa.select(leaves.c.record_id).where(leaves.c.record_id == STORED.c.id)
    return (
        sa.select(_previous.c.id, _previous.c.mac, *RAW_COLUMNS)
        .select_from(STORED.outerjoin(_previous, _is_previous))
        .where(~sealed.exists())
        .order_by(STORED.c.id)
    )


def _report_copies(connection: sa.Connection, report: Report) -> None:
    """Report duplicated events: the MAC of a copy is valid, and its place in the chain is not unique."""
    log = STORED.c
    copies = (
        sa.select(sa.func.max(log.id))
        .where(log.version.is_(None))
        .group_by(log.mac)
        .having(sa.func.count() > 1)
        .order_by(sa.func.max(log.id))
    )
    for record_id in connection.scalars(copies):
        report.add(FindingKind.RECORD_INSERTED, "The record is a copy of another one.", record_id=record_id)
