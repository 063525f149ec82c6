"""Sealing: every record without a leaf is put into the tree, and the tree's new root is signed.

Ids are not committed in their order, so the sealer does not read on from the last one: it looks for what has no
leaf. It begins where everything before is known to be in the tree, so that this costs as much as there is to seal.
"""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app

from app.core.audit.mac import keyring
from app.core.audit.models import STORED
from app.core.db.statements import read_rows, write_rows
from app.core.db.unit_of_work import db, reading, writing
from app.core.jobs.runner import Runner
from app.core.values import as_json, utcnow
from app.proof import outside
from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, Verifier, open_note, sign, verifier
from app.proof.merkle import Frontier, leaf_hash
from app.proof.models import checkpoints, leaves, origin
from app.proof.records import content_of, line_of, without_leaf

log = structlog.get_logger()

EVERY = 5.0
"""Seconds between two looks of the background sealer."""
AT_ONCE = 5_000
"""Records that are sealed in one transaction; on SQLite nobody else writes meanwhile."""
LATE = timedelta(minutes=2)
"""Age of an unsealed record from which the platform says that it is not well."""
SETTLED = 60.0
"""Seconds after which a transaction that has drawn an id has begun to write with it."""

_watching = threading.Lock()

# Any number that nothing else locks.
_LOCK = 0x6974616D


class CannotSeal(Exception):
    """The tree in the database is not the one that was signed; whoever seals on would sign the forgery."""


@dataclass
class Horizon:
    """Where to begin to look: each record with a lower id is in the tree, and nobody will write another.

    PostgreSQL's transactions may yet write ids that they drew long ago. So an id is noted when its record is sealed;
    a while later, when whoever drew one below it has begun to write, the transactions that run are noted; and when
    all of those have ended and no record up to the noted id waits, the horizon moves up to it.
    """

    first_id: int = 0
    _size: int = 0
    _noted_id: int | None = None
    _noted_at: float = 0.0
    _noted_xmax: int | None = None

    def move(self) -> int | None:
        """Move as far as is certain; answers the lowest id that waits to be sealed."""
        sealed = sa.select(sa.func.coalesce(sa.func.max(leaves.c.position) + 1, 0), sa.func.max(leaves.c.record_id))
        size, last_id = db.session.execute(sealed).one()
        if size < self._size:
            # Another database, or an older state of it, is in its place.
            self.first_id, self._noted_id = 0, None
        self._size = size
        xmin, xmax = self._running()
        waiting = db.session.scalar(without_leaf(self.first_id).with_only_columns(STORED.c.id).limit(1))
        if self._noted_id is None:
            self._noted_id, self._noted_at, self._noted_xmax = last_id, time.monotonic(), None
        elif self._noted_xmax is None:
            if xmax == 0 or time.monotonic() - self._noted_at >= SETTLED:
                self._noted_xmax = xmax
        elif xmin >= self._noted_xmax and (waiting is None or waiting > self._noted_id):
            self.first_id, self._noted_id = self._noted_id + 1, None
        return waiting

    @staticmethod
    def _running() -> tuple[int, int]:
        """Transactions below the first have ended, from the second on not begun; SQLite has one at a time."""
        if db.engine.dialect.name != "postgresql":
            return 0, 0
        running = sa.text(
            "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint "
            "FROM pg_current_snapshot() AS now"
        )
        xmin, xmax = db.session.execute(running).one()
        return xmin, xmax


def register(runner: Runner) -> None:
    runner.repeat("seal", seal, every=EVERY)


def seal() -> int:
    """Seal all records that have no leaf yet, unless somebody else is at it; answers how many were sealed.

    Raises CannotSeal, and OSError where the file outside cannot be written; what was sealed stays sealed.
    """
    until = _last_id()
    total, after = 0, 0
    while _is_waiting(after) and (batch := _seal_some(after, until)):
        total += len(batch)
        after = batch[-1]
        if len(batch) < AT_ONCE:
            break
    _write_outside()
    return total


def name_of_log() -> str:
    """The origin of the checkpoints of this database; raises CannotSeal if somebody has taken it away."""
    names = list(db.session.scalars(sa.select(origin.c.name)))
    if len(names) != 1:
        raise CannotSeal("The name of the log is not what the migration made it.")
    return str(names[0])


def verifiers() -> list[Verifier]:
    """The public keys of the log, the current one first."""
    name = name_of_log()
    return [verifier(key, name) for key in keyring()]


def file_outside() -> Path:
    """Where the checkpoints of this log are kept outside the database."""
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    return folder / f"{name_of_log().replace('/', '-')}.jsonl"


def is_late() -> bool:
    """Whether a record waits to be sealed, or a checkpoint to be written outside, for longer than it should."""
    # Whoever answers may be another process than the one that seals, and looks from a horizon of its own.
    watched: Horizon = current_app.extensions.setdefault("audit_horizon_watched", Horizon())
    with _watching:
        first = watched.move()
    oldest = sa.select(STORED.c.created_at).where(STORED.c.id == first)
    try:
        kept = _kept_outside()
    except CannotSeal:
        return True
    beyond = checkpoints.c.size > (kept.size if kept else -1)
    unwritten = sa.select(checkpoints.c.sealed_at).where(beyond).order_by(checkpoints.c.size).limit(1)
    waiting = (db.session.scalar(oldest), db.session.scalar(unwritten))
    return any(at is not None and utcnow() - at > LATE for at in waiting)


def _last_id() -> int:
    """The last record that there is. What comes while this run seals waits for the next one.

    Else it could be sealed before a lower id of the same object that was committed after the run had gone past it.
    """
    with reading():
        return db.session.scalar(sa.select(sa.func.max(STORED.c.id))) or 0


def _is_waiting(after: int) -> bool:
    """Whether to seal, asked of the whole log once: behind what was sealed just now, sealing itself finds out."""
    if after:
        return True
    with reading():
        return _horizon().move() is not None


def _seal_some(after: int, until: int) -> list[int]:
    """Seal some of the records with an id above `after`, up to `until`; answers their ids."""
    with writing():
        if not _alone():
            return []
        frontier = _continue_tree()
        sealed = _append(frontier, max(_horizon().first_id, after + 1), until)
        if sealed:
            _sign(frontier)
    return sealed


def _alone() -> bool:
    """Whether nobody else seals before the end of this transaction; SQLite has one writer anyway."""
    if db.engine.dialect.name != "postgresql":
        return True
    return bool(db.session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))))


def _continue_tree() -> Frontier:
    """The tree as it was signed last; raises CannotSeal if it is not that one any more."""
    newest = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.frontier)
    row = db.session.execute(newest.order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    kept = _kept_outside()
    if row is None:
        if kept is not None:
            raise CannotSeal("The database has no checkpoint, but the file outside has: the log was rolled back.")
        return Frontier()
    try:
        checkpoint, _ = open_note(row.note, verifiers())
        frontier = Frontier(row.size, row.frontier)
    except (InvalidCheckpoint, ValueError) as error:
        raise CannotSeal(f"The newest checkpoint cannot be continued: {error}") from None
    if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root):
        raise CannotSeal("The newest checkpoint is not one of this tree.")
    if kept is not None and (kept.size > row.size or (kept.size == row.size and kept.note != row.note)):
        raise CannotSeal("The file outside has a checkpoint that the database has not: the log was rolled back.")
    return frontier


def _append(frontier: Frontier, first_id: int, until: int) -> list[int]:
    """Give each record that has none its leaf; answers the ids of the records."""
    new: list[tuple[int, int, bytes]] = []
    for row in db.session.execute(without_leaf(first_id).where(STORED.c.id <= until).limit(AT_ONCE)):
        content = content_of(row)
        new.append((frontier.size, content["id"], leaf_hash(line_of(content))))
        frontier.append(new[-1][2])
    if new:
        write_rows(leaves, ("position", "record_id", "hash"), new)
    return [record_id for _, record_id, _ in new]


def _sign(frontier: Frontier) -> None:
    # The key before signs too, so that whoever knows only that one can follow.
    note = sign(Checkpoint(name_of_log(), frontier.size, frontier.root), keyring()[:2])
    values = {"size": frontier.size, "note": note, "frontier": frontier.packed, "sealed_at": utcnow()}
    db.session.execute(sa.insert(checkpoints).values(values))


def _write_outside() -> None:
    """Append what the file does not have yet: after the commit, so that it never knows of what is not so."""
    with reading():
        rows, path = _unwritten(), file_outside()
    if rows:
        outside.append(path, rows)


def _unwritten() -> list[tuple[int, str, Any]]:
    """The checkpoints that the file does not have yet."""
    kept = _kept_outside()
    newer = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.sealed_at).order_by(checkpoints.c.size)
    if kept is not None:
        newer = newer.where(checkpoints.c.size > kept.size)
    return [(size, note, as_json(at)) for size, note, at in read_rows(newer)]


def _kept_outside() -> outside.Line | None:
    try:
        return outside.last(file_outside())
    except outside.DamagedFile as error:
        raise CannotSeal(str(error)) from None


def _horizon() -> Horizon:
    horizon: Horizon = current_app.extensions.setdefault("audit_horizon", Horizon())
    return horizon
