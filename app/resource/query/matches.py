"""The objects that match the conditions of a list: what they meet, and how many they are."""

import functools
from typing import Any, cast

import sqlalchemy as sa

from app.core.cache.backends import cached
from app.core.db.prepared import Prepared
from app.core.http.paging import MAX_TOTAL
from app.resource.declaration import Resource
from app.resource.query.list_query import ListQuery, Matching
from app.resource.query.paths import condition_of, models_on
from app.resource.query.text_search import holds_words
from app.resource.rows import is_own


def conditions_of(resource: Resource, matching: Matching) -> list[sa.ColumnElement[bool]]:
    """What a row meets that matches; the values are those of the query."""
    conditions = [condition_of(resource, item, f"p{at}") for at, item in enumerate(matching.filters)]
    conditions += [holds_words(resource, (1,), f"p{at}_") for at in matching.searched]
    if matching.words:
        conditions.append(holds_words(resource, matching.words))
    if matching.own:
        conditions.append(is_own(resource.model))
    return conditions


def total_of(resource: Resource, query: ListQuery, known_total: int | None) -> tuple[int | None, bool]:
    """How many rows match as far as the query has them counted, and whether there are more."""
    if not query.counted or known_total is not None:
        return known_total if query.counted else None, False
    limit = None if query.total == "exact" else MAX_TOTAL + 1
    counted = count(resource, query, limit)
    return (MAX_TOTAL, True) if limit is not None and counted == limit else (counted, False)


def remembered_total(resource: Resource, query: ListQuery) -> int | None:
    """How many objects match, if that was counted since anything has changed."""
    for limit in (MAX_TOTAL + 1, None):
        counted: int | None = _counter(resource, query).known(*_counted(query, limit))
        if counted is not None and counted != limit:
            return counted
    return None


def count(resource: Resource, query: ListQuery, limit: int | None) -> int:
    """How many objects match, up to a limit."""
    return cast(int, _counter(resource, query)(*_counted(query, limit)))


def _counted(query: ListQuery, limit: int | None) -> tuple[Matching, tuple[tuple[str, Any], ...], int | None]:
    return query.matching, tuple(sorted(query.values.items())), limit


def _counter(resource: Resource, query: ListQuery) -> Any:
    models = {resource.model}.union(*(models_on(resource, item.name) for item in query.matching.filters))
    return _counter_among(resource, frozenset(models))


@functools.cache
def _counter_among(resource: Resource, models: frozenset[type[Any]]) -> Any:
    """A function that counts what matches, remembered until a table changes that it or a filter looks into."""

    def count_matches(matching: Matching, values: tuple[tuple[str, Any], ...], limit: int | None) -> int:
        ((counted,),) = _count_statement(resource, matching, limit).rows(dict(values))
        return cast(int, counted)

    count_matches.__qualname__ = f"count_{resource.name}"
    return cached(*models)(count_matches)


@functools.lru_cache(maxsize=512)
def _count_statement(resource: Resource, matching: Matching, limit: int | None) -> Prepared:
    table = resource.model.__table__
    matching_rows = sa.select(table.c.id).where(*conditions_of(resource, matching)).limit(limit)
    return Prepared(
        sa.select(sa.func.count()).select_from(matching_rows.subquery()), by_value=matching.is_planned_by_value
    )
