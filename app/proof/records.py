"""Records as the tree sees them: the bytes of a record, and those that have no leaf yet."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core.audit.mac import canonical, canonical_time
from app.core.audit.models import COLUMNS, STORED
from app.proof.models import leaves

NAMES = ("id", *COLUMNS, "mac")

# Read as the driver gives them: what somebody has damaged must reach the hash, not fail on the way.
RAW = tuple(
    sa.type_coerce(STORED.c[name], sa.types.NullType()).label(name) if name == "created_at" else STORED.c[name]
    for name in NAMES
)


def content_of(row: Sequence[Any]) -> dict[str, Any]:
    """A row of RAW as the columns by name, the time in its canonical form."""
    content = dict(zip(NAMES, row, strict=True))
    at = content["created_at"]
    content["created_at"] = canonical_time(at if isinstance(at, datetime) else str(at))
    return content


def line_of(content: Mapping[str, Any]) -> bytes:
    """The bytes that a record's leaf is the hash of: all of its columns, its id and its MAC too."""
    return canonical(content)


def without_leaf(first_id: int) -> sa.Select[Any]:
    """Records from this id on that are not in the tree, in the order of their ids."""
    sealed = sa.select(leaves.c.record_id).where(leaves.c.record_id == STORED.c.id)
    return sa.select(*RAW).where(STORED.c.id >= first_id, ~sealed.exists()).order_by(STORED.c.id)
