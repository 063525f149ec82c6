"""How much of the GPUs' time is used: the hours for which they were held, beside those for which they existed.

A GPU exists from its creation here until now, whatever its status; one that is retired exists only while it is
held, so that what is kept for the record does not look idle. It is held from its assignment until its release.

The database adds up each kind of moment in one pass: a period that begins in a bucket is worth the rest of that
bucket and all of the later ones, and one that ends takes as much away again.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.cache.generations import cached
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import db
from app.core.errors import BadRequest
from app.core.values import Choice, as_json, utcnow
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuAssignment, GpuStatus
from app.servers.models import Server
from app.users.models import User

MAX_BUCKETS = 1000
DEFAULT_DAYS = timedelta(days=30)

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
class Span:
    """The time that is looked at, cut into buckets of one width; the last one may be shorter."""

    start: datetime
    end: datetime
    width: timedelta

    @property
    def count(self) -> int:
        return -(-(self.end - self.start) // self.width)

    def bounds(self, place: int) -> tuple[datetime, datetime]:
        begin = self.start + place * self.width
        return begin, min(begin + self.width, self.end)


class Key(NamedTuple):
    """What the hours are told apart by: a model, a datacenter, a user; without an id where there is none."""

    id: int | None
    name: str | None


class Hours:
    """The seconds of each bucket that periods cover, from the moments at which they begin and end."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._partial = [0.0] * span.count
        self._began = [0] * (span.count + 1)

    def add(self, place: int, number: int, seconds: float) -> None:
        """Add `number` periods that begin in a bucket, `seconds` after the start in all; negative ones end.

        Those of the place -1 have begun before the start.
        """
        self._began[place + 1] += number
        if place >= 0:
            end = (self._span.bounds(place)[1] - self._span.start).total_seconds()
            self._partial[place] += number * end - seconds

    def merge(self, other: "Hours") -> None:
        self._partial = [a + b for a, b in zip(self._partial, other._partial, strict=True)]
        self._began = [a + b for a, b in zip(self._began, other._began, strict=True)]

    def per_bucket(self) -> list[float]:
        whole = accumulate(self._began[:-1])
        return [
            (running * (end - begin).total_seconds() + rest) / 3600
            for running, rest, (begin, end) in zip(
                whole, self._partial, map(self._span.bounds, range(self._span.count)), strict=True
            )
        ]


def span_of(since: datetime | None, until: datetime | None, bucket: Bucket) -> Span:
    """The time that is asked for; raises BadRequest."""
    now = utcnow()
    # To the minute, so that who looks at the same page a little later finds it computed.
    end = now.replace(second=0, microsecond=0) if until is None else min(until, now)
    start = since or (end - DEFAULT_DAYS).replace(hour=0, minute=0, second=0, microsecond=0)
    if start >= end:
        raise BadRequest("from must be before to, and in the past.", reason="invalid_parameter")
    span = Span(start.astimezone(UTC), end.astimezone(UTC), bucket.width)
    if span.count > MAX_BUCKETS:
        raise BadRequest(f"At most {MAX_BUCKETS} buckets: choose wider ones.", reason="invalid_parameter")
    return span


@cached(Gpu, GpuAssignment, Server, Datacenter, User)
def measure(span: Span, by: Grouping, limit: int, only_user: int | None) -> dict[str, Any]:
    """The hours of the whole and of the groups that held most, JSON-ready; of users at most `only_user`.

    By user, what exists is the whole for each: the share that somebody takes of it.
    """
    held, of_retired = _held(span, by)
    existing = _existing(span, by)
    for key, hours in of_retired.items():
        existing.setdefault(key, Hours(span)).merge(hours)
    held_by_all, all_that_exists = _sum(span, held.values()), _sum(span, existing.values())
    if by is Grouping.USER:
        visible = [key for key in held if only_user in (None, key.id)]
        existing = dict.fromkeys(visible, all_that_exists)
    else:
        visible = [*existing.keys() | held.keys()]
    nothing = Hours(span)
    groups = [{**key._asdict(), **_render(span, held.get(key, nothing), existing.get(key, nothing))} for key in visible]
    groups.sort(key=lambda group: (-group["held_hours"], -group["existing_hours"], group["name"] or ""))
    return {
        "from": as_json(span.start),
        "to": as_json(span.end),
        "total": _render(span, held_by_all, all_that_exists),
        "groups": groups[:limit],
    }


def _held(span: Span, by: Grouping) -> tuple[dict[Key, Hours], dict[Key, Hours]]:
    """For how long GPUs were held, and how much of that those that are retired now."""
    source = _assignments.join(_gpus, _gpus.c.id == _assignments.c.gpu_id)
    if by is Grouping.USER:
        source = source.outerjoin(_users, _users.c.id == _assignments.c.user_id)
        key = (_assignments.c.user_id, sa.func.coalesce(_users.c.username, _assignments.c.username))
    else:
        source, key = _located(source, by)
    released = _assignments.c.released_at
    overlaps = sa.and_(_assignments.c.assigned_at < span.end, sa.or_(released.is_(None), released > span.start))
    held: dict[Key, Hours] = defaultdict(lambda: Hours(span))
    of_retired: dict[Key, Hours] = defaultdict(lambda: Hours(span))
    for moment, sign, within in ((_assignments.c.assigned_at, 1, sa.true()), (released, -1, released < span.end)):
        counted = _moments(span, source, (*key, _RETIRED), moment, sa.and_(overlaps, within))
        for identity, name, retired, place, number, seconds in counted:
            held[Key(identity, name)].add(place, sign * number, sign * seconds)
            if retired:
                of_retired[Key(identity, name)].add(place, sign * number, sign * seconds)
    return held, of_retired


def _existing(span: Span, by: Grouping) -> dict[Key, Hours]:
    """For how long the GPUs that are not retired have existed."""
    source, key = _located(_gpus, by)
    existing: dict[Key, Hours] = defaultdict(lambda: Hours(span))
    counted = _moments(span, source, key, _gpus.c.created_at, sa.and_(~_RETIRED, _gpus.c.created_at < span.end))
    for identity, name, place, number, seconds in counted:
        existing[Key(identity, name)].add(place, number, seconds)
    return existing


def _located(source: Any, by: Grouping) -> tuple[Any, tuple[Any, Any]]:
    """GPUs joined with what they are grouped by, and the id and the name of that."""
    if by is Grouping.MODEL:
        return source, (sa.null(), _gpus.c.model)
    if by is Grouping.USER:
        return source, (sa.null(), sa.null())
    placed = source.join(_servers, _servers.c.id == _gpus.c.server_id)
    named = placed.outerjoin(_datacenters, _datacenters.c.id == _servers.c.datacenter_id)
    return named, (_datacenters.c.id, _datacenters.c.name)


def _moments(span: Span, source: Any, key: tuple[Any, ...], moment: Any, condition: Any) -> Iterable[Any]:
    """How many moments there are of each key in each bucket, and their seconds after the start, added up."""
    width = span.width.total_seconds()
    if db.engine.dialect.name == "sqlite":
        start = sa.func.julianday(sa.literal(span.start, moment.type))
        seconds: Any = (sa.func.julianday(moment) - start) * 86_400.0
        place: Any = sa.cast(seconds / width, sa.Integer)
    else:
        seconds = sa.cast(sa.extract("epoch", moment - sa.literal(span.start, moment.type)), sa.Double)
        place = sa.cast(sa.func.floor(seconds / width), sa.Integer)
    # Rounding must not put the last moment behind the end.
    place = sa.case((moment < span.start, -1), (place < span.count, place), else_=span.count - 1)
    rows = sa.select(
        *(column.label(f"k{at}") for at, column in enumerate(key)), place.label("place"), seconds.label("s")
    )
    found = rows.select_from(source).where(condition).subquery()
    grouped = [column for column in found.c if column.key != "s"]
    return read_rows(sa.select(*grouped, sa.func.count(), sa.func.sum(found.c.s)).group_by(*grouped))


def _sum(span: Span, parts: Iterable[Hours]) -> Hours:
    whole = Hours(span)
    for part in parts:
        whole.merge(part)
    return whole


def _render(span: Span, held: Hours, existing: Hours) -> dict[str, Any]:
    buckets = [
        {"from": as_json(begin), "to": as_json(end), **_amounts(used, there)}
        for (begin, end), used, there in zip(
            map(span.bounds, range(span.count)), held.per_bucket(), existing.per_bucket(), strict=True
        )
    ]
    return {**_amounts(sum(held.per_bucket()), sum(existing.per_bucket())), "buckets": buckets}


def _amounts(held: float, existing: float) -> dict[str, Any]:
    return {
        "held_hours": round(held, 3),
        "existing_hours": round(existing, 3),
        "utilization": round(held / existing, 4) if existing > 0 else None,
    }
