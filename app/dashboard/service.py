"""The numbers of the dashboard, from counters where there are some, cached until the table changes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from app.assets.models import Asset, AssetStatus, AssetType
from app.audit_logs.declaration import resource as audit_logs
from app.containers.models import Container, ContainerStatus
from app.core.cache.backends import cached
from app.core.db.counters.reading import numbers_by
from app.core.db.models import Entity
from app.core.db.statements import read_rows
from app.core.http.access import Actor
from app.core.values import Choice, as_json
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu, GpuStatus
from app.resource import ListQuery, select_page
from app.servers.models import Server, ServerStatus, ServerType
from app.services.models import Service, ServiceStatus, ServiceType
from app.tasks.models import Task
from app.users.models import User
from app.users.routes import resource as users

MAX_GROUPS = 50
"""Datacenters, environments and GPU models that are listed, the largest first."""
MAX_LISTED = 10
"""Warranties, tasks and changes that are listed."""
SOON = timedelta(days=30)
LATER = timedelta(days=90)

_WARRANTED: dict[type[Server | Asset], list[Choice]] = {
    Server: [ServerStatus.RETIRED],
    Asset: [AssetStatus.RETIRED, AssetStatus.LOST],
}
"""The models that have warranties, and the states in which an object's warranty does not matter."""

Facts = dict[str, Any]


def overview(actor: Actor, today: date) -> Facts:
    """The dashboard of one user, JSON-ready; the number of statements is constant."""
    facts: Facts = {
        "servers": servers(),
        "containers": containers(),
        "services": services(),
        "gpus": gpus(),
        "assets": assets(),
        "warranties": warranties(today),
        "mine": {"gpus": count_gpus_of(actor.id), **tasks_of(actor.id, today)},
        "recent_changes": None,
    }
    totals = {name: facts[name].pop("total") for name in ("servers", "containers", "services", "gpus", "assets")}
    facts["totals"] = {**totals, **count_places(), "users": None}
    if actor.role.covers(users.read):
        facts["totals"]["users"] = count_users()
    if actor.role.covers(audit_logs.read):
        facts["recent_changes"] = recent_changes()
    return facts


@cached(Server, Datacenter, Environment)
def servers() -> Facts:
    rows = _count_by(Server, "status", "server_type", "datacenter_id", "environment_id")
    return {
        "total": _total(rows),
        "by_status": _by_choice(rows, 0, ServerStatus),
        "by_type": _by_choice(rows, 1, ServerType),
        "by_datacenter": _by_reference(rows, 2, Datacenter),
        "by_environment": _by_reference(rows, 3, Environment),
    }


@cached(Container)
def containers() -> Facts:
    rows = _count_by(Container, "status")
    return {"total": _total(rows), "by_status": _by_choice(rows, 0, ContainerStatus)}


@cached(Service)
def services() -> Facts:
    rows = _count_by(Service, "status", "service_type")
    return {
        "total": _total(rows),
        "by_status": _by_choice(rows, 0, ServiceStatus),
        "by_type": _by_choice(rows, 1, ServiceType),
    }


@cached(Gpu)
def gpus() -> Facts:
    rows = _count_by(Gpu, "status", "model")
    models: Counter[str] = Counter()
    for _, model, count in rows:
        models[model] += count
    return {
        "total": _total(rows),
        "by_status": _by_choice(rows, 0, GpuStatus),
        "by_model": [
            {
                "model": model,
                "count": count,
                "by_status": _by_choice([row for row in rows if row[1] == model], 0, GpuStatus),
            }
            for model, count in models.most_common(MAX_GROUPS)
        ],
    }


@cached(Asset)
def assets() -> Facts:
    rows = _count_by(Asset, "status", "asset_type")
    return {
        "total": _total(rows),
        "by_status": _by_choice(rows, 0, AssetStatus),
        "by_type": _by_choice(rows, 1, AssetType),
    }


@cached(Server, Asset)
def warranties(today: date) -> Facts:
    """Servers and assets in use whose warranty expires soon, the next ones first."""
    numbers, nearest = [], []
    for model, excluded in _WARRANTED.items():
        by_day = numbers_by(model, "status", "warranty_expires")
        is_soon = by_day.c.warranty_expires.between(today, today + LATER)
        counted = sa.select(by_day.c.warranty_expires.label("expires"), by_day.c.number)
        numbers.append(counted.where(is_soon, by_day.c.status.not_in(excluded)))
        table = model.__table__
        named = (sa.literal(model.__tablename__).label("type"), table.c.id, table.c.name, table.c.warranty_expires)
        covered = table.c.warranty_expires.between(today, today + LATER), table.c.status.not_in(excluded)
        next_ones = sa.select(*named).where(*covered).order_by(table.c.warranty_expires, table.c.id).limit(MAX_LISTED)
        nearest.append(sa.select(next_ones.subquery()))
    days, next_ = sa.union_all(*numbers).subquery(), sa.union_all(*nearest).subquery()
    within_30, within_90 = (
        sa.cast(sa.func.coalesce(sa.func.sum(number), 0), sa.BigInteger)
        for number in (sa.case((days.c.expires <= today + SOON, days.c.number), else_=0), days.c.number)
    )
    soon, later = read_rows(sa.select(within_30, within_90)).one()
    rows = read_rows(sa.select(next_).order_by(next_.c.warranty_expires, next_.c.type, next_.c.id).limit(MAX_LISTED))
    return {
        "within_30_days": soon,
        "within_90_days": later,
        "next": [
            {"type": kind, "id": identity, "name": name, "warranty_expires": as_json(day)}
            for kind, identity, name, day in rows
        ],
    }


@cached(Datacenter, Environment)
def count_places() -> Facts:
    models = (Datacenter, Environment)
    counts = [sa.select(sa.func.count()).select_from(model.__table__).scalar_subquery() for model in models]
    row = read_rows(sa.select(*counts)).one()
    return {model.__tablename__: count for model, count in zip(models, row, strict=True)}


@cached(User)
def count_users() -> int:
    return read_rows(sa.select(sa.func.count()).select_from(User.__table__)).scalar_one()


@cached(Gpu)
def count_gpus_of(user_id: int) -> int:
    """The number of GPUs that are assigned to a user."""
    numbers = numbers_by(Gpu, "assigned_to_id")
    held = sa.select(numbers.c.number).where(numbers.c.assigned_to_id == user_id)
    return read_rows(held).scalar() or 0


@cached(Task)
def tasks_of(user_id: int, today: date) -> Facts:
    """The open tasks of a user, the most urgent first."""
    table = Task.__table__
    overdue = sa.func.sum(sa.case((table.c.due_date < today, 1), else_=0)).over()
    statement = (
        sa.select(table.c.id, table.c.title, table.c.due_date, sa.func.count().over(), overdue)
        .where(table.c.created_by_id == user_id, table.c.is_completed.is_(False))
        .order_by(table.c.due_date.nulls_last(), table.c.id)
        .limit(MAX_LISTED)
    )
    rows = read_rows(statement).all()
    return {
        "open_tasks": rows[0][3] if rows else 0,
        "overdue_tasks": int(rows[0][4]) if rows else 0,
        "next_tasks": [{"id": row.id, "title": row.title, "due_date": as_json(row.due_date)} for row in rows],
    }


def recent_changes() -> list[Facts]:
    """The newest records of changes: events such as sign-ins have no version."""
    names = ("action", "created_at", "id", "resource_id", "resource_name", "resource_type", "username")
    query = ListQuery(sort=("-id",), page_size=MAX_LISTED, total="none", fields=names)
    return select_page(audit_logs, query.where(version__isnull=False)).items


def _count_by(model: type[Entity], *names: str) -> list[Any]:
    """Rows of each combination of values of these columns, followed by its count."""
    return list(read_rows(sa.select(numbers_by(model, *names))))


def _total(rows: Iterable[Any]) -> int:
    return sum(row[-1] for row in rows)


def _by_choice(rows: Iterable[Any], index: int, choices: type[Choice]) -> dict[str, int]:
    """The count of each value of the column at `index`; 0 for those that no row has."""
    counts = dict.fromkeys((choice.value for choice in choices), 0)
    for row in rows:
        counts[row[index].value] += row[-1]
    return counts


def _by_reference(rows: Sequence[Any], index: int, target: Any) -> list[Facts]:
    """The count per referenced object, largest first; rows without a reference are counted under null."""
    counts: Counter[int | None] = Counter()
    for row in rows:
        counts[row[index]] += row[-1]
    names: dict[int | None, str] = {item.id: item.name for item in read_rows(sa.select(target.id, target.name))}
    groups = [{"id": key, "name": names.get(key), "count": count} for key, count in counts.most_common(MAX_GROUPS)]
    return sorted(groups, key=lambda item: (-item["count"], item["name"] or ""))
