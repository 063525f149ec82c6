"""What the acting user may see of a resource, may change, and may add to.

Of a private model, only an object's creator and administrators see it. To everybody else it does not exist: an answer
about it is a 404, and it is neither listed nor counted nor found. A query of a model adds the conditions of `visible`,
and a cache keys its answers by the viewer.

Who adds an object below a parent, or moves it there, must be allowed to change the parent. Otherwise a server would
have children that its owner can neither change nor delete, and so could not be deleted itself.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import sqlalchemy as sa

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Forbidden, NotOwner
from app.core.http.access import Actor, Role, current_actor
from app.core.messages import tr
from app.resource.declaration import Resource

Child = TypeVar("Child")
Parent = tuple[str, int]
"""The reference field of the child, and the id of the parent."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


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


def may_change(resource: Resource, actor: Actor, created_by_id: int | None) -> bool:
    """Administrators change everything, others what they created of the resources that they may create."""
    return actor.is_admin or (resource.write is Role.USER and created_by_id == actor.id)


def require_parents(resource: Resource, values: Mapping[str, Any], before: Mapping[str, Any] = _NOTHING) -> None:
    """Raise Forbidden where the acting user may not add to a parent among the values of an object; see `parents_in`."""
    actor = current_actor()
    additions = [(None, parent) for parent in parents_in(resource, values, before)]
    for _, parent in closed_parents(resource, actor, additions):
        raise refusal(resource, parent)


def parents_in(resource: Resource, values: Mapping[str, Any], before: Mapping[str, Any]) -> list[Parent]:
    """The parents that values give an object which had others before."""
    return [
        (field.name, values[field.name])
        for field in resource.references.values()
        if field.parent and values.get(field.name) not in (None, before.get(field.name))
    ]


def closed_parents(
    resource: Resource, actor: Actor, additions: Collection[tuple[Child, Parent]]
) -> Iterator[tuple[Child, Parent]]:
    """Those of the children whose parent belongs to somebody else, with it; a missing parent does not.

    One statement for each field, none for administrators.
    """
    for name in {name for _, (name, _) in additions} if not actor.is_admin else ():
        target = resource.fields[name].target
        assert target is not None
        table = target.__table__
        ids = any_of(table.c.id, {identity for _, (field, identity) in additions if field == name})
        others = sa.select(table.c.id).where(ids, table.c.created_by_id.is_distinct_from(actor.id))
        closed = {(name, identity) for identity in db.session.scalars(others)}
        yield from (each for each in additions if each[1] in closed)


def refusal(resource: Resource, parent: Parent) -> Forbidden:
    """The refusal to add to somebody else's object."""
    name, identity = parent
    target = resource.fields[name].target
    assert target is not None
    message = tr(
        "Only the creator of {what} {identity} and administrators add to it.",
        rule="not_owner",
        what=target.__tablename__.removesuffix("s"),
        identity=identity,
    )
    return NotOwner(message, errors={name: [message]})
