"""Who sees which objects: of a private model, only their creator and administrators do.

To everybody else a private object does not exist: an answer about it is a 404, and it is neither listed nor counted
nor found. Whoever selects rows of a model adds these conditions, and whoever caches an answer keys it by the viewer.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.http.access import current_actor


class Private:
    """Mark a model whose objects are there for their creator and for administrators only."""


def sees_own_only(model: Any) -> bool:
    """Whether the acting user sees no more of a model's objects than their own."""
    return issubclass(model, Private) and not current_actor().is_admin


def visible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user sees."""
    return [model.__table__.c.created_by_id == current_actor().id] if sees_own_only(model) else []


def invisible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user does not see; what nobody created is nobody's own."""
    if not sees_own_only(model):
        return [sa.false()]
    return [model.__table__.c.created_by_id.is_distinct_from(current_actor().id)]


def visible_ids(model: Any, ids: Collection[int]) -> Collection[int]:
    """Those of these objects that the acting user sees: no other may be named where one is in the way."""
    if not ids or not sees_own_only(model):
        return ids
    identity = model.__table__.c.id
    return set(db.session.scalars(sa.select(identity).where(any_of(identity, ids), *visible(model))))


def is_visible(model: Any, created_by_id: int | None) -> bool:
    """Whether the acting user sees an object of this creator."""
    return not sees_own_only(model) or created_by_id == current_actor().id
