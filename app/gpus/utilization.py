"""GPU utilization: the GPU-hours for which GPUs were held, of the GPU-hours for which they existed.

A GPU exists from its creation in this database until now, whatever its status. A retired GPU counts as existing only
while it is held, so that records kept for history do not look idle. A GPU is held from its assignment to its release.

The database counts and sums the starts and the ends of periods per bucket. Most of them began before the report and
last: their number is that of now, which is kept (0149), less what has begun since.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.cache.backends import cached
from app.core.db.counters.reading import numbers_by
from app.core.db.statements import read_rows
from app.core.errors import BadParameter
from app.core.messages import tr
from app.core.values import Choice, as_json, utcnow
from app.datacenters.models import Datacenter
from app.gpus.bucketed_hours import BucketedHours, ReportPeriod
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server
from app.users.models import User

MAX_BUCKETS = 1000
DEFAULT_PERIOD = timedelta(days=30)

_gpus, _servers, _datacenters = Gpu.__table__, Server.__table__, Datacenter.__table__
_assignments, _users = GpuAssignment.__table__, User.__table__
_RETIRED = _gpus.c.status == GpuStatus.RETIRED
_ENDED = _assignments.join(_gpus, _gpus.c.id == _assignments.c.gpu_id)
# With types, because their columns are united with others, and with names, without which SQLAlchemy takes them for one.
_NO_ID = sa.cast(sa.null(), sa.BigInteger()).label("no_id")
_NO_NAME = sa.cast(sa.null(), sa.String(255)).label("no_name")
_USER_OF_ASSIGNMENT = (_assignments.c.user_id, sa.func.coalesce(_users.c.username, _assignments.c.username))

Key = tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]
"""The columns of a group's id and name."""
Numbers = sa.Select[*tuple[Any, ...]]
"""A query of numbers of moments by group and bucket."""


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


class GroupKey(NamedTuple):
    """A model, a datacenter or a user that hours are grouped by; models and deleted users have no id."""

    id: int | None
    name: str | None


Groups = dict[GroupKey, BucketedHours]


class Part(Choice):
    """What a number of moments says."""

    NOW = "now"
    """So many GPUs are so now: as if they had been so before the period already."""
    SINCE = "since"
    """When these became so: not before."""
    BEGIN = "begin"
    END = "end"


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
    (held, held_retired), (existing, _) = _added_up(period, [_held(period, by), _existing(period, by)])
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


def _held(period: ReportPeriod, by: Grouping) -> list[Numbers]:
    """The parts of the hours for which GPUs were held.

    Who holds a GPU now, and since when, stands in its row: of the assignments only those that have ended are read.
    """
    now, ended = _grouped(_gpus, by), _grouped(_ENDED, by)
    if by is Grouping.USER:
        now = _gpus.join(_users, _users.c.id == _gpus.c.assigned_to_id), (_users.c.id, _users.c.username)
        ended = _ENDED.outerjoin(_users, _users.c.id == _assignments.c.user_id), _USER_OF_ASSIGNMENT
    began, released = _assignments.c.assigned_at, _assignments.c.released_at
    overlaps = sa.and_(began < period.end, released > period.start)
    return [
        _now(_holders_now(by)),
        _moments(period, Part.SINCE, now, _gpus.c.assigned_at, _gpus.c.assigned_at >= period.start),
        _moments(period, Part.BEGIN, ended, began, overlaps),
        _moments(period, Part.END, ended, released, sa.and_(overlaps, released < period.end)),
    ]


def _existing(period: ReportPeriod, by: Grouping) -> list[Numbers]:
    """The parts of the hours for which the GPUs that are not retired existed."""
    created = _gpus.c.created_at
    since = sa.and_(created >= period.start, ~_RETIRED)
    return [
        _now(_numbers_now(by, lambda status: status != GpuStatus.RETIRED)),
        _moments(period, Part.SINCE, _grouped(_gpus, by), created, since),
    ]


def _added_up(period: ReportPeriod, sides: Sequence[Iterable[Numbers]]) -> list[tuple[Groups, Groups]]:
    """The hours of each group, and those of retired GPUs, for each side.

    All parts are read by one statement, of one moment, which passes over all GPUs once where no number is kept.
    """
    sums: list[tuple[Groups, Groups]] = [
        (defaultdict(lambda: BucketedHours(period)), defaultdict(lambda: BucketedHours(period))) for _ in sides
    ]
    parts = [
        sa.select(sa.literal_column(str(side), sa.Integer()).label("side"), part.subquery())
        for side, parts_of_side in enumerate(sides)
        for part in parts_of_side
    ]
    rows = read_rows(sa.select(sa.union_all(*parts).subquery()))
    for side, id_, name, is_retired, part, index, count, seconds in rows:
        sign = -1 if part == Part.END.value else 1
        every, retired = sums[side]
        for groups in (every, retired) if is_retired else (every,):
            hours = groups[GroupKey(id_, name)]
            if part == Part.SINCE.value:
                hours.add(-1, -count, 0)
            if index < period.bucket_count:
                hours.add(index, sign * count, sign * seconds)
    return [(_not_empty(every), _not_empty(retired)) for every, retired in sums]


def _not_empty(groups: Groups) -> Groups:
    return {key: hours for key, hours in groups.items() if hours}


def _grouped(source: Any, by: Grouping) -> tuple[Any, Key]:
    """The source joined with what it is grouped by, and the columns of the group's id and name."""
    if by is Grouping.MODEL:
        return source, (_NO_ID, _gpus.c.model)
    if by is Grouping.USER:
        return source, (_NO_ID, _NO_NAME)
    with_server = source.join(_servers, _servers.c.id == _gpus.c.server_id)
    with_datacenter = with_server.outerjoin(_datacenters, _datacenters.c.id == _servers.c.datacenter_id)
    return with_datacenter, (_datacenters.c.id, _datacenters.c.name)


def _holders_now(by: Grouping) -> sa.Select[*tuple[Any, ...]]:
    """The number of GPUs that each group holds now."""
    if by is not Grouping.USER:
        return _numbers_now(by, lambda status: status == GpuStatus.ASSIGNED)
    numbers = numbers_by(Gpu, "assigned_to_id")
    source = numbers.join(_users, _users.c.id == numbers.c.assigned_to_id)
    return sa.select(_users.c.id, _users.c.username, numbers.c.number).select_from(source)


def _numbers_now(by: Grouping, counts: Callable[[Any], sa.ColumnElement[bool]]) -> sa.Select[*tuple[Any, ...]]:
    """The number of GPUs of each group now with a status that counts; from the counters where they suffice."""
    numbers = _numbers_by_datacenter() if by is Grouping.DATACENTER else numbers_by(Gpu, "status", "model")
    # PostgreSQL's sum() of bigint is numeric, which would arrive as Decimal.
    number = sa.cast(sa.func.coalesce(sa.func.sum(numbers.c.number), 0), sa.BigInteger)
    if by is Grouping.DATACENTER:
        key = numbers.c.id, numbers.c.name
        return sa.select(*key, number).where(counts(numbers.c.status)).group_by(*key)
    if by is Grouping.USER:
        return sa.select(_NO_ID, _NO_NAME, number).where(counts(numbers.c.status))
    return sa.select(_NO_ID, numbers.c.model, number).where(counts(numbers.c.status)).group_by(numbers.c.model)


@functools.cache
def _numbers_by_datacenter() -> sa.CTE:
    """The number of GPUs of each datacenter and status now, which both sides use."""
    source, (id_, name) = _grouped(_gpus, Grouping.DATACENTER)
    columns = id_.label("id"), name.label("name"), _gpus.c.status, sa.func.count().label("number")
    counted = sa.select(*columns).select_from(source).group_by(id_, name, _gpus.c.status)
    return counted.cte("by_datacenter")


def _now(numbers: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Numbers of GPUs as moments before the period; `Part.SINCE` takes away those that are not so old."""
    id_, name, number = numbers.subquery().c
    values: dict[str, sa.ColumnElement[Any]] = {
        "is_retired": sa.false(),
        "bucket": sa.literal_column("-1", sa.Integer()),
        "number": number,
        "seconds": sa.literal_column("0.0", sa.Float()),
    }
    return _of_part(Part.NOW, id_, name, *(value.label(label) for label, value in values.items()))


def _moments(
    period: ReportPeriod, part: Part, grouped: tuple[Any, Key], moment: Any, condition: sa.ColumnElement[bool]
) -> sa.Select[*tuple[Any, ...]]:
    """Per key and bucket: the number of moments, and the sum of their seconds after the start of the period.

    The bucket of those before the period is -1, and of those after it the number of buckets.
    """
    source, key = grouped
    width = period.width.total_seconds()
    seconds = sa.func.seconds_between(sa.literal(period.start, moment.type), moment)
    index: Any = sa.func.whole_part(seconds / width)
    # Floating-point rounding must not put the last moment after the last bucket.
    last = period.bucket_count - 1
    index = sa.case((moment < period.start, -1), (moment >= period.end, last + 1), (index <= last, index), else_=last)
    values = {"id": key[0], "name": key[1], "is_retired": _RETIRED, "bucket": index, "seconds": seconds}
    rows = sa.select(*(value.label(name) for name, value in values.items())).select_from(source).where(condition)
    *group, second = rows.subquery().c
    return _of_part(part, *group, sa.func.count(), sa.func.sum(second)).group_by(*group)


def _of_part(part: Part, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    id_, name, is_retired, *numbers = columns
    return sa.select(id_, name, is_retired, sa.literal_column(f"'{part.value}'").label("part"), *numbers)


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
