"""Audit records as leaves of the tree: their canonical bytes, and the records that have no leaf yet."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.core.audit.mac import canonical, canonical_time
from app.core.audit.models import COLUMNS, STORED
from app.proof.models import leaves

NAMES = ("id", *COLUMNS, "mac")

# As the driver returns them, without conversion: a damaged value must reach the hash instead of raising.
RAW_COLUMNS = tuple(
    sa.type_coerce(STORED.c[name], sa.types.NullType()).label(name) if name == "created_at" else STORED.c[name]
    for name in NAMES
)


def content_of(row: Sequence[Any]) -> dict[str, Any]:
    """A row of RAW_COLUMNS as a dict, the time in its canonical form."""
    content = dict(zip(NAMES, row, strict=True))
    time = content["created_at"]
    content["created_at"] = canonical_time(time if isinstance(time, datetime) else str(time))
    return content


def leaf_bytes(content: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed to a record's leaf: all of its columns, with its id and its MAC."""
    return canonical(content)


def select_unsealed(first_id: int) -> sa.Select[Any]:
    """Records from this id on that have no leaf, in the order of their ids."""
    sealed = sa.select(leaves.c.record_id).where(leaves.c.record_id == STORED.c.id)
    return sa.select(*RAW_COLUMNS).where(STORED.c.id >= first_id, ~sealed.exists()).order_by(STORED.c.id)
