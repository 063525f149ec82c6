"""Which GPUs can be had now, and where they stand: "four H100 on one server"."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of, read_rows
from app.core.values import fold
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu, GpuStatus
from app.servers.models import Server, ServerStatus

ALTERNATIVES = 20
"""How many servers are named that each have enough."""

_gpus, _servers, _datacenters = Gpu.__table__, Server.__table__, Datacenter.__table__
_AVAILABLE = _gpus.c.status == GpuStatus.AVAILABLE


def find(model: str | None, count: int, *, same_server: bool) -> dict[str, Any]:
    """Whether `count` available GPUs can be had, how many there are, and which to take.

    Those on active servers count. With `same_server` each of the servers has enough of one model, and the ones
    that keep the fewest to spare come first, so that what is whole stays so for whoever needs it. Without it, the
    servers give the GPUs together, and as few of them as possible.
    """
    models = matching_models(model)
    if not models:
        return {"possible": False, "available": 0, "most_on_one_server": 0, "servers": []}
    places = _places(models, count, same_server=same_server)
    listed = [place for place in places if place["server_id"] is not None]
    by_place = _available_in(listed, models)
    possible = bool(listed) if same_server else places[0]["total"] >= count
    found: list[dict[str, Any]] = []
    wanted = count
    for place in listed if possible else ():
        if not wanted:
            break
        chosen = by_place[place["server_id"], place["model"]][:wanted]
        wanted -= 0 if same_server else len(chosen)
        found.append(_render(place, chosen))
    return {
        "possible": possible,
        "available": places[0]["total"],
        "most_on_one_server": places[0]["most"],
        "servers": found,
    }


def matching_models(text: str | None) -> list[str]:
    """The models of which a GPU is available that a person means by the text; all of them where there is none.

    A model of exactly this name, ignoring case; else those that have all its words, so that "A10" is the
    "NVIDIA A10" and not the A100.
    """
    first = sa.select(sa.func.min(_gpus.c.model).label("model")).where(_AVAILABLE).cte("models", recursive=True)
    following = sa.select(sa.func.min(_gpus.c.model)).where(_AVAILABLE, _gpus.c.model > first.c.model)
    # From one model to the next through the index: there are a dozen of them, and many GPUs of each.
    models = first.union_all(sa.select(following.scalar_subquery()).where(first.c.model.is_not(None)))
    known = read_rows(sa.select(models.c.model).where(models.c.model.is_not(None))).scalars().all()
    if text is None:
        return list(known)
    same = [model for model in known if fold(model) == fold(text)]
    return same or [model for model in known if _words(text) <= _words(model)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", fold(text)))


def _places(models: Sequence[str], count: int, *, same_server: bool) -> list[dict[str, Any]]:
    """The servers to take from, the best first, each beside the totals of all servers; at least one row."""
    stock = (
        sa.select(_gpus.c.server_id, _gpus.c.model, sa.func.count().label("number"))
        .join(_servers, _servers.c.id == _gpus.c.server_id)
        .where(_AVAILABLE, any_of(_gpus.c.model, models), _servers.c.status == ServerStatus.ACTIVE)
        .group_by(_gpus.c.server_id, _gpus.c.model)
        .cte("stock")
    )
    totals = sa.select(
        # PostgreSQL adds up integers as decimals.
        sa.cast(sa.func.coalesce(sa.func.sum(stock.c.number), 0), sa.BigInteger).label("total"),
        sa.func.coalesce(sa.func.max(stock.c.number), 0).label("most"),
    ).subquery()
    order = (stock.c.number if same_server else stock.c.number.desc(), stock.c.server_id, stock.c.model)
    best = sa.select(stock).order_by(*order).limit(ALTERNATIVES if same_server else count)
    if same_server:
        best = best.where(stock.c.number >= count)
    chosen = best.subquery()
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
        .order_by(chosen.c.number if same_server else chosen.c.number.desc(), chosen.c.server_id, chosen.c.model)
    )
    return [dict(row) for row in read_rows(statement).mappings()]


def _available_in(
    places: Sequence[dict[str, Any]], models: Sequence[str]
) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The available GPUs of each server and model, in the order of their slots."""
    shown = (_gpus.c.id, _gpus.c.slot, _gpus.c.uuid, _gpus.c.memory_mb)
    statement = (
        sa.select(_gpus.c.server_id, _gpus.c.model, *shown)
        .where(
            _AVAILABLE,
            any_of(_gpus.c.model, models),
            any_of(_gpus.c.server_id, (place["server_id"] for place in places)),
        )
        .order_by(_gpus.c.slot.nulls_last(), _gpus.c.id)
    )
    by_place: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for server_id, model, *values in read_rows(statement):
        by_place[server_id, model].append(dict(zip((column.key for column in shown), values, strict=True)))
    return by_place


def _render(place: dict[str, Any], chosen: list[dict[str, Any]]) -> dict[str, Any]:
    datacenter = {"id": place["datacenter_id"], "name": place["datacenter"]}
    return {
        "server": {"id": place["server_id"], "name": place["server"]},
        "datacenter": None if place["datacenter_id"] is None else datacenter,
        "model": place["model"],
        "available": place["number"],
        "gpus": chosen,
    }
