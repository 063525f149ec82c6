"""The change feed: audit records in the order in which they were sealed.

Ids are not committed in their order, so reading on from the last id would miss records. The sealer gives each committed
record the next position without a gap, and the records of one object in their order: reading on from a position misses
none.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.errors import InvalidCursor
from app.core.messages import tr
from app.proof.models import leaves
from app.resource import Resource, is_visible, owners_of, sees_own_only

WINDOW_RECORDS = 500
"""Records that one answer covers."""

logs = AuditLog.__table__

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FeedWindow:
    """The positions that one answer covers: from `begin`, without `end`; `size` is the end of the sealed log."""

    begin: int
    end: int
    size: int

    @property
    def cursor(self) -> str:
        return str(_serializer().dumps(self.end))

    @property
    def has_more(self) -> bool:
        return self.end < self.size


def window_after(cursor: str | None) -> FeedWindow:
    """The window after a cursor: "" is the beginning of the log, None its end; raises BadRequest."""
    size = db.session.scalar(sa.select(sa.func.coalesce(sa.func.max(leaves.c.position) + 1, 0))) or 0
    position = 0
    if cursor != "":
        position = size if cursor is None else _read_cursor(cursor)
    # A backup may have been restored since the cursor was issued: then the window begins at the end of that log.
    begin = min(position, size)
    return FeedWindow(begin, min(begin + WINDOW_RECORDS, size), size)


def _read_cursor(cursor: str) -> int:
    try:
        position: int = _serializer().loads(cursor)
    except BadData:
        raise InvalidCursor(tr("This cursor is not one of ours."), parameter="after") from None
    return position


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="cursor of events")


def select_events(window: FeedWindow, types: Sequence[Resource]) -> list[Event]:
    """The changes of these resources that the acting user may read, in order."""
    if window.begin == window.end:
        return []
    statement = (
        sa.select(
            logs.c.resource_type, logs.c.resource_id, logs.c.resource_name, logs.c.action, logs.c.version,
            logs.c.changes, logs.c.created_at,
        )
        .select_from(leaves.join(logs, logs.c.id == leaves.c.record_id))
        .where(
            leaves.c.position >= window.begin,
            leaves.c.position < window.end,
            logs.c.version.is_not(None),
            logs.c.resource_type.in_([resource.name for resource in types]),
        )
        .order_by(leaves.c.position)
    )  # fmt: skip
    records = db.session.execute(statement).all()
    hidden = _select_hidden(records, types)
    return [_event(record) for record in records if (record.resource_type, record.resource_id) not in hidden]


def _event(record: Any) -> Event:
    return {
        "type": record.resource_type,
        "id": record.resource_id,
        "name": record.resource_name,
        "action": record.action,
        "version": record.version,
        "fields": sorted(record.changes),
        "at": record.created_at,
    }


def _select_hidden(records: Sequence[Any], types: Sequence[Resource]) -> set[tuple[str, int]]:
    """The objects of these records, existing or deleted, that are private to another user."""
    ids: dict[str, set[int]] = defaultdict(set)
    for record in records:
        ids[record.resource_type].add(record.resource_id)
    hidden: set[tuple[str, int]] = set()
    for resource in types:
        if ids[resource.name] and sees_own_only(resource.model):
            owners = owners_of(resource, ids[resource.name])
            hidden |= {
                (resource.name, identity)
                for identity in ids[resource.name]
                if identity not in owners or not is_visible(resource.model, owners[identity])
            }
    return hidden
