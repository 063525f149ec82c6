"""The change feed: audit records in the order in which they were sealed.

Ids are not committed in their order, so reading on from the last id would miss records. The sealer gives each committed
record the next position without a gap, and the records of one object in their order: reading on from a position misses
none.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from app.core.audit.models import AuditLog
from app.core.db.models import Id
from app.core.db.prepared import Prepared
from app.core.errors import InvalidCursor
from app.core.messages import tr
from app.proof.models import leaves
from app.resource import Resource, is_visible, owners_of, sees_own_only

WINDOW_RECORDS = 500
"""Records that one answer covers."""

logs = AuditLog.__table__

Event = dict[str, Any]

_SIZE = Prepared(sa.select(sa.func.coalesce(sa.func.max(leaves.c.position) + 1, 0)))


class FeedRecord(NamedTuple):
    """The columns of an audit record that the feed reads."""

    type: str
    id: int
    name: str | None
    action: str
    version: int
    changes: dict[str, Any]
    at: datetime


@functools.lru_cache(maxsize=64)
def _events_of(types: tuple[str, ...]) -> Prepared:
    """The changes of these types at the positions from `begin`, without `end`."""
    position = leaves.c.position
    return Prepared(
        sa.select(
            logs.c.resource_type, logs.c.resource_id, logs.c.resource_name, logs.c.action, logs.c.version,
            logs.c.changes, logs.c.created_at,
        )
        .select_from(leaves.join(logs, logs.c.id == leaves.c.record_id))
        .where(
            position >= sa.bindparam("begin", type_=Id),
            position < sa.bindparam("end", type_=Id),
            logs.c.version.is_not(None),
            sa.or_(*(logs.c.resource_type == name for name in types)),
        )
        .order_by(position)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedWindow:
    """The positions that one answer covers: from `begin`, without `end`; `size` is the end of the sealed log."""

    begin: int
    end: int
    size: int

    @property
    def cursor(self) -> str:
        return _cursor_at(self.end, current_app.config["SECRET_KEY"])

    @property
    def has_more(self) -> bool:
        return self.end < self.size


def window_after(cursor: str | None) -> FeedWindow:
    """The window after a cursor: "" is the beginning of the log, None its end; raises BadRequest."""
    ((size,),) = _SIZE.rows({})
    position = 0
    if cursor != "":
        position = size if cursor is None else _read_cursor(cursor)
    # A backup may have been restored since the cursor was issued: then the window begins at the end of that log.
    begin = min(position, size)
    return FeedWindow(begin, min(begin + WINDOW_RECORDS, size), size)


def _read_cursor(cursor: str) -> int:
    try:
        return _position_of(cursor, current_app.config["SECRET_KEY"])
    except BadData:
        raise InvalidCursor(tr("This cursor is not one of ours."), parameter="after") from None


# A client sends the same cursor until there is something new. To check the signature of one and to sign another took
# 190 of the 1,250 calls of a request.
@functools.lru_cache(maxsize=1024)
def _position_of(cursor: str, key: str) -> int:
    position: int = _serializer(key).loads(cursor)
    return position


@functools.lru_cache(maxsize=1024)
def _cursor_at(position: int, key: str) -> str:
    return str(_serializer(key).dumps(position))


@functools.lru_cache(maxsize=1)
def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt="cursor of events")


def select_events(window: FeedWindow, types: Sequence[Resource]) -> list[Event]:
    """The changes of these resources that the acting user may read, in order."""
    if window.begin == window.end:
        return []
    statement = _events_of(tuple(resource.name for resource in types))
    changes = [FeedRecord(*row) for row in statement.rows({"begin": window.begin, "end": window.end})]
    hidden = _select_hidden(changes, types)
    return [_event(change) for change in changes if (change.type, change.id) not in hidden]


def _event(change: FeedRecord) -> Event:
    return {
        "type": change.type,
        "id": change.id,
        "name": change.name,
        "action": change.action,
        "version": change.version,
        "fields": sorted(change.changes),
        "at": change.at,
    }


def _select_hidden(changes: Sequence[FeedRecord], types: Sequence[Resource]) -> set[tuple[str, int]]:
    """The objects of these changes, existing or deleted, that are private to another user."""
    ids: dict[str, set[int]] = defaultdict(set)
    for change in changes:
        ids[change.type].add(change.id)
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
