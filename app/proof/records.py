"""Audit records as leaves of the tree: their canonical bytes, and the records that have no leaf yet."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core.audit.mac import canonical, canonical_time
from app.core.audit.models import COLUMNS, STORED
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db
from app.proof.models import leaves

SETTLE_SECONDS = 60.0
"""The time within which a transaction that has taken an id from the sequence has begun to write with it."""

NAMES = ("id", *COLUMNS, "mac")

# As the driver returns them, without conversion: a damaged value must reach the hash instead of raising.
RAW_COLUMNS = tuple(
    sa.type_coerce(STORED.c[name], sa.types.NullType()).label(name) if name == "created_at" else STORED.c[name]
    for name in NAMES
)


def content_of(row: Sequence[Any]) -> dict[str, Any]:
    """A row of RAW_COLUMNS as a dict, the time in its canonical form."""
    content = dict(zip(NAMES, row, strict=True))
    at = content["created_at"]
    content["created_at"] = canonical_time(at if isinstance(at, datetime) else str(at))
    return content


def leaf_bytes(content: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed to a record's leaf: all of its columns, with its id and its MAC."""
    return canonical(content)


def select_unsealed(first_id: int) -> sa.Select[Any]:
    """Records from this id on that have no leaf, in the order of their ids."""
    sealed = sa.select(leaves.c.record_id).where(leaves.c.record_id == STORED.c.id)
    return sa.select(*RAW_COLUMNS).where(STORED.c.id >= first_id, ~sealed.exists()).order_by(STORED.c.id)


@dataclass
class Horizon:
    """The id from which to look for unsealed records: all lower ids are sealed or will never be written.

    On PostgreSQL a transaction may write an id that it took from the sequence long ago. So the horizon moves in three
    steps: note the id of a sealed record; after SETTLE_SECONDS, when every transaction that took a lower id has begun
    to write, note the running transactions; when all of those have ended and no record up to the noted id is unsealed,
    move the horizon behind it.
    """

    first_id: int = 0
    _size: int = 0
    _noted_id: int | None = None
    _noted_at: float = 0.0
    _noted_xmax: int | None = None

    def move(self) -> int | None:
        """Move the horizon if that is safe, and return the lowest unsealed id."""
        sealed = sa.select(sa.func.coalesce(sa.func.max(leaves.c.position) + 1, 0), sa.func.max(leaves.c.record_id))
        size, last_id = db.session.execute(sealed).one()
        if size < self._size:
            # The database was replaced, for example by a restored backup.
            self.first_id, self._noted_id = 0, None
        self._size = size
        xmin, xmax = current_dialect().statements.running_transactions(db.session.connection())
        unsealed = db.session.scalar(select_unsealed(self.first_id).with_only_columns(STORED.c.id).limit(1))
        if self._noted_id is None:
            self._noted_id, self._noted_at, self._noted_xmax = last_id, time.monotonic(), None
        elif self._noted_xmax is None:
            if xmax == 0 or time.monotonic() - self._noted_at >= SETTLE_SECONDS:
                self._noted_xmax = xmax
        elif xmin >= self._noted_xmax and (unsealed is None or unsealed > self._noted_id):
            self.first_id, self._noted_id = self._noted_id + 1, None
        return unsealed
