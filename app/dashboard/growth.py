"""How many objects there were at the end of each day: from the objects that exist, and the records of deletions."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.assets.models import Asset
from app.containers.models import Container
from app.core.audit.models import AuditLog
from app.core.cache.backends import cached
from app.core.db.counters.reading import numbers_by
from app.core.db.statements import read_rows
from app.gpus.models import Gpu
from app.servers.models import Server
from app.services.models import Service

MODELS = (Server, Container, Service, Gpu, Asset)
DEFAULT_DAYS = 90
MAX_DAYS = 366

logs = AuditLog.__table__


class _Lives(NamedTuple):
    """Objects of a resource that were created on one day and deleted on one day, each an ISO date.

    `created` is None before the first day that is asked about, `deleted` for those that exist.
    """

    resource: str
    created: str | None
    deleted: str | None
    objects: int


@cached(*MODELS)
def growth(today: date, days: int) -> dict[str, Any]:
    """The number of objects at the end of each of the last `days` days in UTC, JSON-ready; today's until now.

    An object that was deleted and restored counts for the time in between, too.
    """
    first = today - timedelta(days=days - 1)
    dates = [(first + timedelta(days=number)).isoformat() for number in range(days)]
    position = {day: index for index, day in enumerate(dates)}
    changes: dict[str, Counter[int]] = {model.__tablename__: Counter() for model in MODELS}
    start = datetime.combine(first, time(), UTC)
    for lives in (*_existing(start), *_deleted(start)):
        change = changes[lives.resource]
        # A change since midnight would belong to a day that this answer does not have.
        change[0 if lives.created is None else position.get(lives.created, days - 1)] += lives.objects
        if lives.deleted is not None:
            change[position.get(lives.deleted, days - 1)] -= lives.objects
    return {
        "days": dates,
        "series": {name: list(accumulate(change[index] for index in range(days))) for name, change in changes.items()},
    }


def _existing(start: datetime) -> Iterator[_Lives]:
    """The objects that exist, in one statement."""
    parts = []
    for model in MODELS:
        numbers = numbers_by(model, "created_at")
        day = sa.cast(numbers.c.created_at, sa.String())
        parts.append(sa.select(sa.literal(model.__tablename__).label("resource"), day.label("day"), numbers.c.number))
    counts = sa.union_all(*parts).subquery()
    for resource, created, count in read_rows(sa.select(counts)):
        yield _Lives(resource, created if created >= start.date().isoformat() else None, None, count)


def _deleted(start: datetime) -> Iterator[_Lives]:
    """The objects that were deleted since the start and not restored: an object's versions go on when it is."""
    deletion, creation, later = logs.alias("deletion"), logs.alias("creation"), logs.alias("later")
    created = sa.case((creation.c.created_at >= start, sa.func.utc_day(creation.c.created_at)))
    deleted = sa.func.utc_day(deletion.c.created_at)
    is_restored = sa.exists().where(
        later.c.resource_type == deletion.c.resource_type,
        later.c.resource_id == deletion.c.resource_id,
        later.c.version == deletion.c.version + 1,
    )
    is_same = sa.and_(
        creation.c.resource_type == deletion.c.resource_type,
        creation.c.resource_id == deletion.c.resource_id,
        creation.c.version == 1,
    )
    statement = (
        sa.select(deletion.c.resource_type, created.label("created"), deleted.label("deleted"), sa.func.count())
        .select_from(deletion.join(creation, is_same))
        .where(
            deletion.c.action == "delete",
            deletion.c.created_at >= start,
            deletion.c.resource_type.in_([model.__tablename__ for model in MODELS]),
            ~is_restored,
        )
        .group_by(deletion.c.resource_type, "created", "deleted")
    )
    for resource, created_day, deleted_day, count in read_rows(statement):
        yield _Lives(resource, None if created_day is None else str(created_day), str(deleted_day), count)
