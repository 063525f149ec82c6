"""GPU utilization: the GPU-hours for which GPUs were held, of the GPU-hours for which they existed.

A GPU exists from its creation in this database until now, whatever its status. A retired GPU counts as existing only
while it is held, so that records kept for history do not look idle. A GPU is held from its assignment to its release.

The database counts and sums the starts and the ends of periods per bucket, one pass each. A period that starts in a
bucket contributes the rest of that bucket and all later ones; its end subtracts the same in its own bucket.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.cache.backends import cached
from app.core.db.statements import read_rows
from app.core.errors import BadParameter
from app.core.messages import tr
from app.core.values import Choice, as_json, utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server
from app.users.models import User

MAX_BUCKETS = 1000
DEFAULT_PERIOD = timedelta(days=30)

_gpus, _servers, _datacenters = Gpu.__table__, Server.__table__, Datacenter.__table__
_assignments, _users = GpuAssignment.__table__, User.__table__
_RETIRED = _gpus.c.status == GpuStatus.RETIRED


class Grouping(Choice):
    MODEL = "model"
    DATACENTER = "datacenter"
    USER = "user"


class Bucket(Choice):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def width(self) -> timedelta:
        return timedelta(**{f"{self.value}s": 1})


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """The period of a report, divided into buckets of equal width; the last bucket may be shorter."""

    start: datetime
    end: datetime
    width: timedelta

    @property
    def bucket_count(self) -> int:
        return -(-(self.end - self.start) // self.width)

    def bounds(self, index: int) -> tuple[datetime, datetime]:
        begin = self.start + index * self.width
        return begin, min(begin + self.width, self.end)


class GroupKey(NamedTuple):
    """A model, a datacenter or a user that hours are grouped by; models and deleted users have no id."""

    id: int | None
    name: str | None


class BucketedHours:
    """The GPU-hours per bucket, added up from the starts and ends of periods."""

    def __init__(self, period: ReportPeriod) -> None:
        self._period = period
        # Seconds that starts and ends contribute to their own bucket.
        self._partial = [0.0] * period.bucket_count
        # GPUs that start minus those that end: before the first bucket, then in each bucket.
        self._delta = [0] * (period.bucket_count + 1)

    def add(self, index: int, count: int, seconds: float) -> None:
        """Add `count` starts in a bucket, `seconds` after the start of the period in total; negative ones are ends.

        The index -1 stands for the time before the period.
        """
        self._delta[index + 1] += count
        if index >= 0:
            end = (self._period.bounds(index)[1] - self._period.start).total_seconds()
            self._partial[index] += count * end - seconds

    def merge(self, other: "BucketedHours") -> None:
        self._partial = [a + b for a, b in zip(self._partial, other._partial, strict=True)]
        self._delta = [a + b for a, b in zip(self._delta, other._delta, strict=True)]

    def per_bucket(self) -> list[float]:
        running_at_start = accumulate(self._delta[:-1])
        bounds = map(self._period.bounds, range(self._period.bucket_count))
        return [
            (running * (end - begin).total_seconds() + partial) / 3600
            for running, partial, (begin, end) in zip(running_at_start, self._partial, bounds, strict=True)
        ]


def period_of(since: datetime | None, until: datetime | None, bucket: Bucket) -> ReportPeriod:
    """The period that a query asks for; raises BadRequest."""
    now = utcnow()
    # Rounded to the minute, so that the cache serves those who look at the same page soon after.
    end = now.replace(second=0, microsecond=0) if until is None else min(until, now)
    start = since or (end - DEFAULT_PERIOD).replace(hour=0, minute=0, second=0, microsecond=0)
    if start >= end:
        raise BadParameter(tr("`from` must be before `to` and in the past."), parameter="from")
    period = ReportPeriod(start.astimezone(UTC), end.astimezone(UTC), bucket.width)
    if period.bucket_count > MAX_BUCKETS:
        raise BadParameter(
            tr("At most {max} buckets are possible: choose a wider one.", max=MAX_BUCKETS), parameter="bucket"
        )
    return period


@cached(Gpu, GpuAssignment, Server, Datacenter, User)
def measure(period: ReportPeriod, by: Grouping, limit: int, only_user: int | None) -> dict[str, Any]:
    """The hours in total and of the `limit` most used groups, JSON-ready; by user, of `only_user` unless it is None.

    By user, `existing_hours` is the total, so that the utilization is the user's share of all GPUs.
    """
    held, held_retired = _held(period, by)
    existing = _existing(period, by)
    for key, hours in held_retired.items():
        existing.setdefault(key, BucketedHours(period)).merge(hours)
    total_held, total_existing = _sum(period, held.values()), _sum(period, existing.values())
    if by is Grouping.USER:
        visible = [key for key in held if only_user in (None, key.id)]
        existing = dict.fromkeys(visible, total_existing)
    else:
        visible = [*existing.keys() | held.keys()]
    none = BucketedHours(period)
    groups = [{**key._asdict(), **_render(period, held.get(key, none), existing.get(key, none))} for key in visible]
    groups.sort(key=lambda group: (-group["held_hours"], -group["existing_hours"], group["name"] or ""))
    return {
        "from": as_json(period.start),
        "to": as_json(period.end),
        "total": _render(period, total_held, total_existing),
        "groups": groups[:limit],
    }


def _held(period: ReportPeriod, by: Grouping) -> tuple[dict[GroupKey, BucketedHours], dict[GroupKey, BucketedHours]]:
    """The hours for which GPUs were held, and those of them that belong to retired GPUs."""
    source = _assignments.join(_gpus, _gpus.c.id == _assignments.c.gpu_id)
    if by is Grouping.USER:
        source = source.outerjoin(_users, _users.c.id == _assignments.c.user_id)
        key = (_assignments.c.user_id, sa.func.coalesce(_users.c.username, _assignments.c.username))
    else:
        source, key = _grouped(source, by)
    released = _assignments.c.released_at
    overlaps = sa.and_(_assignments.c.assigned_at < period.end, sa.or_(released.is_(None), released > period.start))
    held: dict[GroupKey, BucketedHours] = defaultdict(lambda: BucketedHours(period))
    held_retired: dict[GroupKey, BucketedHours] = defaultdict(lambda: BucketedHours(period))
    for moment, sign, within in ((_assignments.c.assigned_at, 1, sa.true()), (released, -1, released < period.end)):
        rows = _count_moments(period, source, (*key, _RETIRED), moment, sa.and_(overlaps, within))
        for id_, name, is_retired, index, count, seconds in rows:
            held[GroupKey(id_, name)].add(index, sign * count, sign * seconds)
            if is_retired:
                held_retired[GroupKey(id_, name)].add(index, sign * count, sign * seconds)
    return held, held_retired


def _existing(period: ReportPeriod, by: Grouping) -> dict[GroupKey, BucketedHours]:
    """The hours for which the GPUs that are not retired existed."""
    source, key = _grouped(_gpus, by)
    existing: dict[GroupKey, BucketedHours] = defaultdict(lambda: BucketedHours(period))
    rows = _count_moments(period, source, key, _gpus.c.created_at, sa.and_(~_RETIRED, _gpus.c.created_at < period.end))
    for id_, name, index, count, seconds in rows:
        existing[GroupKey(id_, name)].add(index, count, seconds)
    return existing


def _grouped(source: Any, by: Grouping) -> tuple[Any, tuple[Any, Any]]:
    """The source joined with what it is grouped by, and the columns of the group's id and name."""
    if by is Grouping.MODEL:
        return source, (sa.null(), _gpus.c.model)
    if by is Grouping.USER:
        return source, (sa.null(), sa.null())
    with_server = source.join(_servers, _servers.c.id == _gpus.c.server_id)
    with_datacenter = with_server.outerjoin(_datacenters, _datacenters.c.id == _servers.c.datacenter_id)
    return with_datacenter, (_datacenters.c.id, _datacenters.c.name)


def _count_moments(
    period: ReportPeriod, source: Any, key: tuple[Any, ...], moment: Any, condition: Any
) -> Iterable[Any]:
    """Per key and bucket: the number of moments, and the sum of their seconds after the start of the period."""
    width = period.width.total_seconds()
    seconds = sa.func.seconds_between(sa.literal(period.start, moment.type), moment)
    index: Any = sa.func.whole_part(seconds / width)
    # Floating-point rounding must not put the last moment after the last bucket.
    last = period.bucket_count - 1
    index = sa.case((moment < period.start, -1), (index <= last, index), else_=last)
    rows = sa.select(
        *(column.label(f"key{n}") for n, column in enumerate(key)), index.label("bucket"), seconds.label("seconds")
    )
    moments = rows.select_from(source).where(condition).subquery()
    grouped = [column for column in moments.c if column.key != "seconds"]
    return read_rows(sa.select(*grouped, sa.func.count(), sa.func.sum(moments.c.seconds)).group_by(*grouped))


def _sum(period: ReportPeriod, parts: Iterable[BucketedHours]) -> BucketedHours:
    total = BucketedHours(period)
    for part in parts:
        total.merge(part)
    return total


def _render(period: ReportPeriod, held: BucketedHours, existing: BucketedHours) -> dict[str, Any]:
    buckets = [
        {"from": as_json(begin), "to": as_json(end), **_amounts(held_hours, existing_hours)}
        for (begin, end), held_hours, existing_hours in zip(
            map(period.bounds, range(period.bucket_count)), held.per_bucket(), existing.per_bucket(), strict=True
        )
    ]
    return {**_amounts(sum(held.per_bucket()), sum(existing.per_bucket())), "buckets": buckets}


def _amounts(held: float, existing: float) -> dict[str, Any]:
    return {
        "held_hours": round(held, 3),
        "existing_hours": round(existing, 3),
        "utilization": round(held / existing, 4) if existing > 0 else None,
    }
