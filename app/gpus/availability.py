"""The search for available GPUs, such as "four H100 on one server"."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of, read_rows
from app.core.values import fold
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuStatus
from app.servers.models import Server, ServerStatus

MAX_SERVERS = 20
"""Suggested servers with enough GPUs."""
MAX_GPUS = 50_000
"""Available GPUs that are looked through, as long as enough are among them."""

_gpus, _servers, _datacenters = Gpu.__table__, Server.__table__, Datacenter.__table__
_AVAILABLE = _gpus.c.status == GpuStatus.AVAILABLE


def find_available(
    model: str | None,
    count: int,
    *,
    same_server: bool,
    conditions: Collection[sa.ColumnElement[bool]] = (),
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Whether `count` GPUs are available on active servers, how many are, and which ones to take.

    `conditions` are further ones on the GPUs, and `values` their parameters.

    With `same_server`, each suggested server has enough GPUs of one model. Best fit: the server with the fewest left
    over comes first, which leaves large free blocks for those who need them. Without it, the suggested servers have
    the GPUs together, and are as few as possible. Where there are not enough, the servers that have some are
    named, those with the most first.

    Of more than MAX_GPUS available GPUs, some of each model are looked through, and all only if these are not enough:
    whether it is possible is always exact.
    """
    models = matching_models(model)
    if not models:
        return {"possible": False, "available": 0, "most_on_one_server": 0, "at_least": False, "servers": []}
    condition = sa.and_(_AVAILABLE, any_of(_gpus.c.model, models), *conditions)
    limit = max(MAX_GPUS // len(models), count) + 1
    rows = _rank_servers(_some_of_each(models, conditions, limit), values, count, same_server=same_server)
    is_cut = rows[0]["longest"] >= limit
    possible = _is_enough(rows[0], count, same_server=same_server)
    if is_cut and not possible:
        of_all = _with_enough(models, conditions, count if same_server else 1)
        others = _rank_servers(of_all, values, count, same_server=same_server)
        possible = _is_enough(others[0], count, same_server=same_server)
        rows = others if possible else rows
    candidates = [row for row in rows if row["server_id"] is not None]
    gpus = _available_on(candidates, condition, values)
    suggestions: list[dict[str, Any]] = []
    missing = count
    for candidate in candidates:
        if not missing:
            break
        chosen = gpus[candidate["server_id"], candidate["model"]][:missing]
        missing -= 0 if same_server else len(chosen)
        suggestions.append(_render(candidate, chosen))
    return {
        "possible": possible,
        "available": rows[0]["total"],
        "most_on_one_server": rows[0]["most"],
        "at_least": is_cut,
        "servers": suggestions,
    }


def _is_enough(totals: Mapping[str, Any], count: int, *, same_server: bool) -> bool:
    enough: bool = (totals["most"] if same_server else totals["total"]) >= count
    return enough


def matching_models(text: str | None) -> list[str]:
    """The models with an available GPU that the text means; without a text, all of them.

    The model of exactly this name, ignoring case, else those that contain all its words: "A10" means the "NVIDIA
    A10" and not the A100.
    """
    first = sa.select(sa.func.min(_gpus.c.model).label("model")).where(_AVAILABLE).cte("models", recursive=True)
    next_model = sa.select(sa.func.min(_gpus.c.model)).where(_AVAILABLE, _gpus.c.model > first.c.model)
    # A loose index scan: one index lookup for each of about a dozen models, instead of reading every GPU.
    models = first.union_all(sa.select(next_model.scalar_subquery()).where(first.c.model.is_not(None)))
    available = read_rows(sa.select(models.c.model).where(models.c.model.is_not(None))).scalars().all()
    if text is None:
        return list(available)
    same = [model for model in available if fold(model) == fold(text)]
    return same or [model for model in available if _words(text) <= _words(model)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", fold(text)))


def _some_of_each(
    models: Sequence[str], conditions: Collection[sa.ColumnElement[bool]], limit: int
) -> sa.CompoundSelect[Any]:
    """The number of available GPUs by server and model, of each model among the first `limit` at most."""
    parts = []
    for model in models:
        gpus = sa.select(_gpus.c.server_id, _gpus.c.model).where(_AVAILABLE, _gpus.c.model == model, *conditions)
        first = gpus.order_by(_gpus.c.server_id).limit(limit).subquery()
        number = sa.func.count().label("number")
        parts.append(sa.select(first.c.server_id, first.c.model, number).group_by(first.c.server_id, first.c.model))
    return sa.union_all(*parts)


def _with_enough(
    models: Sequence[str], conditions: Collection[sa.ColumnElement[bool]], count: int
) -> sa.CompoundSelect[Any]:
    """The number of available GPUs by server and model, where it is `count` at least.

    Model by model, so that each is counted in the order of an index, without memory for all servers.
    """
    number = sa.func.count()
    parts = (
        sa.select(_gpus.c.server_id, _gpus.c.model, number.label("number"))
        .where(_AVAILABLE, _gpus.c.model == model, *conditions)
        .group_by(_gpus.c.server_id, _gpus.c.model)
        .having(number >= count)
        for model in models
    )
    return sa.union_all(*parts)


def _rank_servers(
    numbers: sa.CompoundSelect[Any], values: Mapping[str, Any] | None, count: int, *, same_server: bool
) -> list[dict[str, Any]]:
    """The servers to take GPUs from, the best first, each row with the totals of all servers.

    `numbers` are those of the GPUs that may be taken, by server and model. `longest` is the most of one model.
    Without a suitable server there is one row, whose `server_id` is None.
    """
    counted = numbers.cte("counted")
    # Counted before it is joined: a server has several GPUs.
    stock = (
        sa.select(counted)
        .join(_servers, _servers.c.id == counted.c.server_id)
        .where(_servers.c.status == ServerStatus.ACTIVE)
        .cte("stock")
    )
    of_models = sa.select(sa.func.sum(counted.c.number).label("number")).group_by(counted.c.model).subquery()
    longest = sa.select(sa.cast(sa.func.coalesce(sa.func.max(of_models.c.number), 0), sa.BigInteger)).scalar_subquery()
    totals = sa.select(
        # PostgreSQL's sum() of bigint is numeric, which would arrive as Decimal.
        sa.cast(sa.func.coalesce(sa.func.sum(stock.c.number), 0), sa.BigInteger).label("total"),
        sa.func.coalesce(sa.func.max(stock.c.number), 0).label("most"),
        longest.label("longest"),
    ).subquery()
    rank: sa.ColumnElement[int] = -stock.c.number
    best = sa.select(stock).limit(count)
    if same_server:
        # Of the servers that have enough the one with the fewest, else the one with the most.
        rank = sa.case((stock.c.number >= count, stock.c.number), else_=-stock.c.number)
        enough = sa.or_(stock.c.number >= count, sa.select(totals.c.most < count).scalar_subquery())
        best = sa.select(stock).where(enough).limit(MAX_SERVERS)
    chosen = best.add_columns(rank.label("rank")).order_by(rank, stock.c.server_id, stock.c.model).subquery()
    statement = (
        sa.select(
            totals,
            chosen,
            _servers.c.name.label("server"),
            _datacenters.c.id.label("datacenter_id"),
            _datacenters.c.name.label("datacenter"),
        )
        .select_from(totals)
        .outerjoin(chosen, sa.true())
        .outerjoin(_servers, _servers.c.id == chosen.c.server_id)
        .outerjoin(_datacenters, _datacenters.c.id == _servers.c.datacenter_id)
        .order_by(chosen.c.rank, chosen.c.server_id, chosen.c.model)
    )
    return [dict(row) for row in read_rows(statement, values).mappings()]


def _available_on(
    candidates: Sequence[dict[str, Any]], condition: sa.ColumnElement[bool], values: Mapping[str, Any] | None
) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The available GPUs of each server and model, in the order of their slots."""
    shown = (_gpus.c.id, _gpus.c.slot, _gpus.c.uuid, _gpus.c.memory_mb)
    statement = (
        sa.select(_gpus.c.server_id, _gpus.c.model, *shown)
        .where(
            condition,
            any_of(_gpus.c.server_id, (candidate["server_id"] for candidate in candidates)),
        )
        .order_by(_gpus.c.slot.nulls_last(), _gpus.c.id)
    )
    by_server_and_model: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    names = [column.key for column in shown]
    for server_id, model, *gpu in read_rows(statement, values):
        by_server_and_model[server_id, model].append(dict(zip(names, gpu, strict=True)))
    return by_server_and_model


def _render(candidate: dict[str, Any], chosen: list[dict[str, Any]]) -> dict[str, Any]:
    datacenter = {"id": candidate["datacenter_id"], "name": candidate["datacenter"]}
    return {
        "server": {"id": candidate["server_id"], "name": candidate["server"]},
        "datacenter": None if candidate["datacenter_id"] is None else datacenter,
        "model": candidate["model"],
        "available": candidate["number"],
        "gpus": chosen,
    }
