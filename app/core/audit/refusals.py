"""Refusals: the first of a caller is recorded at once, its repetitions within a minute are counted in one record.

The log is never pruned, and a script that is refused a hundred times a second would fill it. Refusals without a record
yet are counted in a row that all processes share, so that none is lost when a process stops. The records are ordinary
events, each with its place in a chain.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.addresses import client_network
from app.core.audit.recorder import Changes, record
from app.core.db.models import Base, JsonText
from app.core.db.statements import insert_or_lock
from app.core.db.unit_of_work import current_context, db, writing
from app.core.request_context import RequestContext
from app.core.values import utcnow

PERIOD = timedelta(minutes=1)
"""For how long the refusals of a caller are counted after one was recorded."""
MAX_REQUESTS = 50
"""Different requests that a record names; further ones are counted by their routes."""
BATCH_ROWS = 100

DENIED = "denied"


class RefusedRequest(NamedTuple):
    """A refused request: the type and id of its object, and the request in words."""

    resource_type: str
    resource_id: int | None
    name: str


class AuditRefusal(Base):
    """A caller with recent refusals: since when they are counted, and those without a record yet."""

    caller: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    counted_since: Mapped[datetime] = mapped_column(index=True)
    pending: Mapped[int]
    requests: Mapped[dict[str, int]] = mapped_column(JsonText)
    context: Mapped[dict[str, Any] | None] = mapped_column(JsonText)


counts = AuditRefusal.__table__


def record_refusals(
    refused: Sequence[RefusedRequest], *, route: str, token: str = "", context: RequestContext | None = None
) -> None:
    """Record the refusals of one request in the current transaction, or count them.

    A caller is a user, else the network of an address; where a token is refused, that token. `route` is what further
    requests are counted under, once MAX_REQUESTS different ones have been named: it must be one of few.
    """
    if not refused:
        return
    context = context or current_context()
    caller = _key(context, token)
    counted = _merged({}, Counter(map(_about, refused)), route)
    now = utcnow()
    row = _locked_row(caller, now)
    requests = _merged(row.requests, counted, route)
    if now < row.counted_since + PERIOD:
        values = {"pending": row.pending + len(refused), "requests": requests, "context": context.as_dict()}
        _update(caller, values)
    else:
        _record(refused, requests, context)
        _update(caller, {"counted_since": now, **_NOTHING})


def _locked_row(caller: str, now: datetime) -> Any:
    """The row of a caller, locked; a new one is a minute old, so that the first refusal is recorded."""
    # Read first: most refusals are of callers with a row, and a failed INSERT is dearer.
    row = db.session.execute(_LOCKED, {"caller": caller}).one_or_none()
    if row is None:
        # Another process may have begun the row meanwhile.
        new = insert_or_lock(counts).values(caller=caller, counted_since=now - PERIOD, pending=0, requests={})
        db.session.execute(new)
        row = db.session.execute(_LOCKED, {"caller": caller}).one()
    return row


def record_pending() -> None:
    """Record what was counted for callers whose minute is over, and forget those who were not refused since."""
    while _record_batch() == BATCH_ROWS:
        pass


def _record_batch() -> int:
    with writing():
        now = utcnow()
        over = sa.select(counts).where(counts.c.counted_since <= now - PERIOD).order_by(counts.c.caller)
        rows = db.session.execute(over.limit(BATCH_ROWS).with_for_update(skip_locked=True)).all()
        for row in rows:
            if row.pending:
                context = RequestContext(**row.context)
                record(
                    DENIED, "users", context.user_id, f"{row.pending} refusals", _changes(row.requests), context=context
                )
                _update(row.caller, {"counted_since": now, **_NOTHING})
            else:
                db.session.execute(sa.delete(counts).where(counts.c.caller == row.caller))
    return len(rows)


def _record(refused: Sequence[RefusedRequest], requests: Mapping[str, int], context: RequestContext) -> None:
    """Write the record of these refusals, which names the first, and of those that were counted before them."""
    first = refused[0]
    changes = _changes(requests) if sum(requests.values()) > 1 else {}
    record(DENIED, first.resource_type, first.resource_id, first.name, changes, context=context)


def _changes(requests: Mapping[str, int]) -> Changes:
    """The requests that were denied, with how often each was, in one audit record."""
    return {"count": {"old": None, "new": sum(requests.values())}, "requests": {"old": None, "new": dict(requests)}}


def _about(item: RefusedRequest) -> str:
    """The request in words, with what it was about where that is not among them."""
    if item.resource_id is None or f"/{item.resource_id}" in item.name:
        return item.name
    return f"{item.name} ({item.resource_type} {item.resource_id})"


def _merged(counts: Mapping[str, int], more: Mapping[str, int], route: str) -> dict[str, int]:
    merged = dict(counts)
    for name, count in more.items():
        key = name if name in merged or len(merged) < MAX_REQUESTS else route
        merged[key] = merged.get(key, 0) + count
    return merged


def _update(caller: str, values: Mapping[str, Any]) -> None:
    db.session.execute(sa.update(counts).where(counts.c.caller == caller).values(**values))


def _key(context: RequestContext, token: str) -> str:
    who = (
        f"address {client_network(context.ip_address or '')}" if context.user_id is None else f"user {context.user_id}"
    )
    return hashlib.sha256(f"{who} {token}".encode()).hexdigest()


_NOTHING: dict[str, Any] = {"pending": 0, "requests": {}, "context": None}
_LOCKED = sa.select(counts).where(counts.c.caller == sa.bindparam("caller")).with_for_update()
