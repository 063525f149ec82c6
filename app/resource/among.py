"""Objects by a list of ids: their own, or those of what they are below."""

import functools
from collections.abc import Collection, Sequence
from typing import Any

from app.core.db.dialects.protocol import Dialect
from app.core.db.dialects.registry import current_dialect
from app.core.db.prepared import Prepared, rows_together
from app.resource.declaration import Resource
from app.resource.rows import Projection, is_own, projection_of, viewer_of


def select_among(resource: Resource, field: str, values: Collection[int]) -> list[dict[str, Any]]:
    """All objects whose field has one of these values, JSON-ready, in the order of their ids."""
    if not values:
        return []
    statement, projection, bound = _among(resource, field, values, is_sent=False)
    return [projection.render(row) for row in statement.rows(bound)]


def select_children(parents: Sequence[tuple[Resource, str, Collection[int]]]) -> list[list[dict[str, Any]]]:
    """For each resource, its objects whose field has one of these values, in the order of their ids.

    The queries are sent at once, and the objects are only sent, see `projection_of`.
    """
    queries = [_among(*one, is_sent=True) for one in parents]
    every = rows_together([(statement, bound) for statement, _, bound in queries])
    return [[projection.render(row) for row in rows] for (_, projection, _), rows in zip(queries, every, strict=True)]


def _among(
    resource: Resource, field: str, values: Collection[int], *, is_sent: bool
) -> tuple[Prepared, Projection, dict[str, Any]]:
    """The statement, its projection, and its values."""
    viewer, dialect = viewer_of(resource.model), current_dialect()
    statement, projection = _among_statement(resource, field, dialect, own=viewer is not None, is_sent=is_sent)
    viewing = {} if viewer is None else {"viewer": viewer}
    return statement, projection, {"values": dialect.statements.listed(values), **viewing}


@functools.cache
def _among_statement(
    resource: Resource, field: str, dialect: Dialect, *, own: bool, is_sent: bool
) -> tuple[Prepared, Projection]:
    projection = projection_of(resource, is_sent=is_sent)
    table = resource.model.__table__
    conditions = [dialect.statements.among(table.c[field], "values"), *([is_own(resource.model)] if own else [])]
    return Prepared(projection.statement.where(*conditions).order_by(table.c.id)), projection
