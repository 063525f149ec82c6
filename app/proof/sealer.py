"""Sealing: append every record without a leaf to the tree, and sign the new root.

Ids are not committed in their order, so the sealer does not continue after the last one: it selects records without a
leaf. It begins at a Horizon, so the cost is that of the new records.
"""

import threading
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app

from app.core.audit.mac import keyring
from app.core.audit.models import STORED
from app.core.db.statements import read_rows, write_rows
from app.core.db.unit_of_work import db, reading, writing
from app.core.jobs.runner import Runner
from app.core.storage.protocol import StorageError
from app.core.values import as_json, utcnow
from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, VerifierKey, open_note, read, sign, verifier_key
from app.proof.merkle import Frontier, leaf_hash
from app.proof.models import checkpoints, leaves, origin
from app.proof.outside.checkpoint_file import CheckpointEntry, DamagedFile
from app.proof.outside.checkpoint_log import CheckpointLog, checkpoint_log_of
from app.proof.records import Horizon, content_of, leaf_bytes, select_unsealed

log = structlog.get_logger()

INTERVAL_SECONDS = 5.0
"""The pause of the background sealer between two runs."""
BATCH_RECORDS = 5_000
"""Records that are sealed in one transaction; on SQLite no other writer runs meanwhile."""
LATE_AFTER = timedelta(seconds=10)
"""How long sealing may make no progress, while a record is unsealed, before readiness reports `late`."""
_health_lock = threading.Lock()


class CannotSeal(Exception):
    """The tree in the database is not the one that was signed: to continue it would sign a forgery."""


def register_jobs(runner: Runner) -> None:
    runner.repeat("seal", seal, every=INTERVAL_SECONDS)


def seal() -> int:
    """Seal all records that have no leaf, unless another process is sealing, and return how many were sealed.

    Raises CannotSeal, and OSError if the checkpoint file cannot be written; the records are sealed all the same.
    """
    last_id = _select_last_id()
    total, after = 0, 0
    while _has_unsealed(after) and (batch := _seal_batch(after, last_id)):
        total += len(batch)
        after = batch[-1]
        if len(batch) < BATCH_RECORDS:
            break
    write_checkpoint_file()
    return total


def log_name() -> str:
    """The name of this log, which is the origin of its checkpoints; raises CannotSeal if it was removed."""
    names = list(db.session.scalars(sa.select(origin.c.name)))
    if len(names) != 1:
        raise CannotSeal("The table audit_origin must hold one name of the log, as the migration created it.")
    return str(names[0])


def verifier_keys() -> list[VerifierKey]:
    """The public keys of the log, the current one first."""
    name = log_name()
    return [verifier_key(key, name) for key in keyring()]


def checkpoint_log() -> CheckpointLog:
    """The checkpoints of this log outside the database."""
    return checkpoint_log_of(log_name())


def check_other_logs(own: CheckpointLog) -> list[str]:
    """Refuse checkpoints of another log that one of our keys has signed, and return doubts about the others.

    The name of the log is in the database. The owner of the database could change it, so that the checkpoints that were
    signed before would not be read any more. Raises CannotSeal.
    """
    doubts = []
    for other in own.others():
        try:
            last = other.last()
            if last is None:
                continue
            name = read(last.note).origin
            open_note(last.note, [verifier_key(key, name) for key in keyring()])
        except (DamagedFile, InvalidCheckpoint) as error:
            doubts.append(f"{other.name} beside the checkpoints of this log: {error} Move it out of the folder.")
            continue
        raise CannotSeal(
            f"The log was started anew: {other.name} has checkpoints of {last.size} records, signed by a key of this "
            f"log. If that was you, move {other.name} out of the folder and keep it as evidence."
        )
    return doubts


def is_late() -> bool:
    """Whether something has to be sealed or written to the checkpoint file, and nothing was within LATE_AFTER.

    The time of the file, or of the object in a bucket, shows the progress: the owner of the database cannot set it. A
    long import, which commits records older than LATE_AFTER, makes a pause look late until the next run of the sealer.
    """
    try:
        last = _last_of(external_log := checkpoint_log().as_listed_now())
        check_other_logs(external_log)
        written_at = external_log.written_at() if last else None
    except (CannotSeal, StorageError):
        return True
    is_newer = checkpoints.c.size > (last.size if last else -1)
    unwritten = sa.select(checkpoints.c.sealed_at).where(is_newer).order_by(checkpoints.c.size).limit(1)
    times = (oldest_unsealed(), db.session.scalar(unwritten))
    is_progressing = written_at is not None and _is_recent(written_at)
    return not is_progressing and any(time is not None and not _is_recent(time) for time in times)


def oldest_unsealed() -> datetime | None:
    """The time of the oldest record that has no leaf yet; by a horizon of its own, for it may be another process."""
    horizon: Horizon = current_app.extensions.setdefault("audit_horizon_of_health", Horizon())
    with _health_lock:
        unsealed_id = horizon.move()
    return db.session.scalar(sa.select(STORED.c.created_at).where(STORED.c.id == unsealed_id))


def _is_recent(time: datetime) -> bool:
    return abs(utcnow() - time) <= LATE_AFTER


def _select_last_id() -> int:
    """The id up to which this run seals. Later records wait for the next run.

    Otherwise one could be sealed before a lower id of the same object that was committed behind this run.
    """
    with reading():
        return db.session.scalar(sa.select(sa.func.max(STORED.c.id))) or 0


def _has_unsealed(after: int) -> bool:
    """Whether there is a record to seal; only the first batch asks, the others select their records at once."""
    if after:
        return True
    with reading():
        return _horizon().move() is not None


def _seal_batch(after: int, last_id: int) -> list[int]:
    """Seal at most BATCH_RECORDS records with ids above `after` up to `last_id`, and return their ids."""
    with writing():
        if not _try_lock():
            return []
        frontier = continue_tree()
        sealed = _append(frontier, max(_horizon().first_id, after + 1), last_id)
        if sealed:
            _sign(frontier)
    return sealed


def _try_lock() -> bool:
    """Keep other processes from sealing until the end of this transaction; SQLite has one writer anyway.

    It locks the row that names the log. Any account that can connect may take an advisory lock, whatever its number;
    a row can only be locked by those who may write the table.
    """
    return db.session.execute(sa.select(origin.c.name).with_for_update(skip_locked=True)).first() is not None


def continue_tree() -> Frontier:
    """The tree of the newest checkpoint; raises CannotSeal if it is not the one that was signed."""
    newest = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.frontier)
    row = db.session.execute(newest.order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    last = _last_of(external_log := checkpoint_log().as_listed_now())
    check_other_logs(external_log)
    if row is None:
        if last is not None:
            raise CannotSeal("The database has no checkpoint, but the file outside has: the log was rolled back.")
        return Frontier()
    try:
        checkpoint, _ = open_note(row.note, verifier_keys())
        frontier = Frontier(row.size, row.frontier)
    except (InvalidCheckpoint, ValueError) as error:
        raise CannotSeal(f"The newest checkpoint cannot be continued: {error}") from None
    if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root):
        raise CannotSeal("The newest checkpoint is not one of this tree.")
    if last is not None and (last.size > row.size or (last.size == row.size and last.note != row.note)):
        raise CannotSeal("The file outside has a checkpoint that the database has not: the log was rolled back.")
    return frontier


def _append(frontier: Frontier, first_id: int, last_id: int) -> list[int]:
    """Write the leaves of unsealed records, append them to the tree, and return the ids of the records."""
    rows: list[tuple[int, int, bytes]] = []
    for record in db.session.execute(select_unsealed(first_id).where(STORED.c.id <= last_id).limit(BATCH_RECORDS)):
        content = content_of(record)
        leaf = leaf_hash(leaf_bytes(content))
        rows.append((frontier.size, content["id"], leaf))
        frontier.append(leaf)
    if rows:
        write_rows(leaves, ("position", "record_id", "hash"), rows)
    return [record_id for _, record_id, _ in rows]


def _sign(frontier: Frontier) -> None:
    # Signed by the previous key too: a verifier that knows only that one can follow the rotation.
    note = sign(Checkpoint(log_name(), frontier.size, frontier.root), keyring()[:2])
    values = {"size": frontier.size, "note": note, "frontier": frontier.packed, "sealed_at": utcnow()}
    db.session.execute(sa.insert(checkpoints).values(values))


def write_checkpoint_file() -> None:
    """Append the newer checkpoints to the file, after their commit: the file never holds one that was rolled back.

    Raises CannotSeal if the file is damaged.
    """
    with reading():
        rows = _select_unwritten(external_log := checkpoint_log())
    if rows:
        external_log.append(rows)


def _select_unwritten(external_log: CheckpointLog) -> list[tuple[int, str, Any]]:
    """(size, note, time) of the checkpoints that the file does not have yet."""
    last = _last_of(external_log)
    statement = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.sealed_at).order_by(checkpoints.c.size)
    if last is not None:
        statement = statement.where(checkpoints.c.size > last.size)
    return [(size, note, as_json(time)) for size, note, time in read_rows(statement)]


def _last_of(external_log: CheckpointLog) -> CheckpointEntry | None:
    try:
        return external_log.last()
    except DamagedFile as error:
        raise CannotSeal(str(error)) from None


def _horizon() -> Horizon:
    horizon: Horizon = current_app.extensions.setdefault("audit_horizon", Horizon())
    return horizon
