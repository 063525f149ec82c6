"""What changed since, in the order in which the records were sealed.

Ids are not committed in their order, so whoever reads on from the last id misses records. The sealer gives each
record, once it is committed, the next position without a gap, and those of one object in their order: to read on
from a position misses nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import BadRequest
from app.proof.models import leaves
from app.resource import Resource
from app.resource.visibility import is_visible, sees_own_only

AT_ONCE = 500
"""Records that one answer looks through."""

logs = AuditLog.__table__

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Positions of the log that an answer looks through: from `begin`, without `end`; `size` is where the log ends."""

    begin: int
    end: int
    size: int

    @property
    def cursor(self) -> str:
        return str(_serializer().dumps(self.end))

    @property
    def has_more(self) -> bool:
        return self.end < self.size


def stretch_after(cursor: str | None) -> Stretch:
    """What there is to look through after a cursor, which is the beginning where it is empty; raises BadRequest."""
    size = db.session.scalar(sa.select(sa.func.coalesce(sa.func.max(leaves.c.position) + 1, 0))) or 0
    wanted = 0
    if cursor != "":
        wanted = size if cursor is None else _position(cursor)
    # An older state of the database may be in its place: what is read then begins where that ends.
    begin = min(wanted, size)
    return Stretch(begin, min(begin + AT_ONCE, size), size)


def _position(cursor: str) -> int:
    try:
        position: int = _serializer().loads(cursor)
    except BadData:
        raise BadRequest("This cursor is not one of ours.", reason="invalid_cursor") from None
    return position


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="cursor of events")


def select_events(stretch: Stretch, types: Sequence[Resource]) -> list[Event]:
    """The changes of these resources that the acting user may see, in order."""
    if stretch.begin == stretch.end:
        return []
    statement = (
        sa.select(
            logs.c.resource_type, logs.c.resource_id, logs.c.resource_name, logs.c.action, logs.c.version,
            logs.c.changes, logs.c.created_at,
        )
        .select_from(leaves.join(logs, logs.c.id == leaves.c.record_id))
        .where(
            leaves.c.position >= stretch.begin,
            leaves.c.position < stretch.end,
            logs.c.version.is_not(None),
            logs.c.resource_type.in_([resource.name for resource in types]),
        )
        .order_by(leaves.c.position)
    )  # fmt: skip
    records = db.session.execute(statement).all()
    hidden = _hidden(records, types)
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


def _hidden(records: Sequence[Any], types: Sequence[Resource]) -> set[tuple[str, int]]:
    """The objects among these that are private to somebody else, whether they are still there or not."""
    met: dict[str, set[int]] = defaultdict(set)
    for record in records:
        met[record.resource_type].add(record.resource_id)
    hidden: set[tuple[str, int]] = set()
    for resource in types:
        if met[resource.name] and sees_own_only(resource.model):
            owners = _owners(resource, met[resource.name])
            hidden |= {
                (resource.name, identity)
                for identity in met[resource.name]
                if identity not in owners or not is_visible(resource.model, owners[identity])
            }
    return hidden


def _owners(resource: Resource, ids: set[int]) -> dict[int, int | None]:
    """Who created each of these objects; of those that are gone, their last record tells."""
    table = resource.model.__table__
    there = sa.select(table.c.id, table.c.created_by_id).where(any_of(table.c.id, ids))
    owners: dict[int, int | None] = dict(db.session.execute(there).all())
    if gone := ids - set(owners):
        deletions = sa.select(logs.c.resource_id, logs.c.snapshot).where(
            logs.c.resource_type == resource.name, any_of(logs.c.resource_id, gone), logs.c.action == "delete"
        )
        owners |= {identity: snapshot["created_by_id"] for identity, snapshot in db.session.execute(deletions)}
    return owners
