"""Who sees which objects: those of a private model are visible to their creator and to administrators.

For everybody else a private object does not exist: reading it is a 404, and lists, counts and searches leave it out.
Every SELECT of a model's rows adds these conditions, and a cached answer has the viewer in its key.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.http.access import current_actor


class Private:
    """Marks a model whose objects are visible to their creator and to administrators only."""


def sees_own_only(model: Any) -> bool:
    """Whether the acting user sees no more of a model's objects than their own."""
    return issubclass(model, Private) and not current_actor().is_admin


def visible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user sees."""
    return [model.__table__.c.created_by_id == current_actor().id] if sees_own_only(model) else []


def invisible(model: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions on a row that the acting user does not see; an object without a creator is one."""
    if not sees_own_only(model):
        return [sa.false()]
    return [model.__table__.c.created_by_id.is_distinct_from(current_actor().id)]


def visible_ids(model: Any, ids: Collection[int]) -> Collection[int]:
    """The ids of those objects that the acting user sees: an error may name no other."""
    if not ids or not sees_own_only(model):
        return ids
    identity = model.__table__.c.id
    return set(db.session.scalars(sa.select(identity).where(any_of(identity, ids), *visible(model))))


def is_visible(model: Any, created_by_id: int | None) -> bool:
    """Whether the acting user sees an object of this creator."""
    return not sees_own_only(model) or created_by_id == current_actor().id
