"""`?with=can,children`: what a page about an object needs beside its fields, in the same answer.

`can` goes by the rules that the routes enforce. It is a hint: every write is checked again.
"""

from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from marshmallow import fields
from marshmallow.validate import OneOf

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.http.access import Actor, current_actor
from app.core.http.openapi.operations import query_parameter
from app.resource.cascade import children_of
from app.resource.declaration import Resource
from app.resource.expand.actions import actions_of
from app.resource.query.as_of import AsOfSchema
from app.resource.query.filters import unknown
from app.resource.rows import visible
from app.resource.service import may_change

PARAMETER = "with"
CAN, CHILDREN = "can", "children"
EXPANSIONS = (CAN, CHILDREN)

_DESCRIPTION = "Members to add: `can`, what you may do with the object, and `children`, how many it has of what."
DOCUMENTED = query_parameter(
    PARAMETER,
    {"type": "array", "items": {"$ref": "#/components/schemas/Expansion"}},
    _DESCRIPTION,
    style="form",
    explode=False,
)

Item = dict[str, Any]


class Expansions(fields.List[str]):
    """The names in `with`, separated by commas or in several parameters."""

    is_delimited = True

    def __init__(self) -> None:
        names = fields.String(validate=OneOf(EXPANSIONS), metadata={"enumeration": "Expansion"})
        super().__init__(names, attribute=PARAMETER, data_key=PARAMETER, metadata={"description": _DESCRIPTION})

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return read_expansions(value)


class ReadQuerySchema(AsOfSchema):
    with_ = Expansions()


def read_expansions(texts: Iterable[str]) -> frozenset[str]:
    """The expansions that a request names; raises BadRequest with the nearest for one that there is not."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in EXPANSIONS:
            raise unknown("expansion", name, EXPANSIONS, parameter="with")
    return frozenset(names)


def expand(resource: Resource, items: Collection[Item], names: Collection[str]) -> list[Item]:
    """Objects, as they are read with all their fields, with these members added; one statement for all of them."""
    expanded = list(items)
    if CAN in names:
        actor = current_actor()
        expanded = [{**item, CAN: _can(resource, actor, item)} for item in expanded]
    if CHILDREN in names:
        counts = _count_children(resource, [item["id"] for item in items])
        expanded = [{**item, CHILDREN: counts[item["id"]]} for item in expanded]
    return expanded


def _can(resource: Resource, actor: Actor, item: Item) -> dict[str, bool]:
    """Whether the user may change the object, delete it, and do each action with it."""
    target = _target(resource, item)
    is_open = actor.may_write and may_change(resource, actor, target.created_by_id)
    return {
        "change": is_open,
        "delete": is_open and not resource.model.is_protected_from(actor.id, target.id),
        **{each.operation: each.is_open_to(actor) and each.rule(actor, target) for each in actions_of(resource)},
    }


def _target(resource: Resource, item: Item) -> Any:
    """The object with the values that its model would have."""
    choices = {field.name: field.choices for field in resource.fields.values() if field.choices is not None}
    members = {name: kind(item[name]) for name, kind in choices.items() if item[name] is not None}
    return SimpleNamespace(**{**item, **members})


def _count_children(resource: Resource, ids: Collection[int]) -> Mapping[int, dict[str, int]]:
    """For each object, the children that the user sees, counted by resource; 0 where there are none."""
    is_admin = current_actor().is_admin
    shown = [each for each in children_of([resource.model]) if each[0].public or is_admin]
    counts = {identity: dict.fromkeys((child.__tablename__ for child, _ in shown), 0) for identity in ids}
    counted = [
        sa.select(sa.literal(child.__tablename__), field.column, sa.func.count())
        .where(any_of(field.column, ids), *visible(child))
        .group_by(field.column)
        for child, field in shown
    ]
    for name, identity, count in db.session.execute(sa.union_all(*counted)) if counted else ():
        counts[identity][name] += count
    return counts
