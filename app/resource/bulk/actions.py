"""A hand-written action on several objects of a resource in one request: on all of them, or on none."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response
from marshmallow import Schema, fields, validate

from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import ApiError, Invalid
from app.core.messages import tr
from app.core.values import MAX_ID
from app.resource.bulk.answers import conclude_items
from app.resource.bulk.item import Item, valid
from app.resource.bulk.schemas import answer_schema_of
from app.resource.declaration import Resource
from app.resource.json_fields import Integer
from app.resource.rows import visible
from app.resource.service import not_found

MAX_ACTED_ON = 100
"""Objects of one action: each is changed by statements of its own, under the locks of all."""


def ids_field(description: str) -> fields.List[Any]:
    """The objects that an action is about, in the body of its request."""
    return fields.List(
        Integer(validate=validate.Range(1, MAX_ID)),
        required=True,
        validate=validate.Length(1, MAX_ACTED_ON),
        metadata={"description": description},
    )


def results_schema(resource: Resource) -> type[Schema]:
    """The schema of what `act_on_all` answers."""
    return answer_schema_of(resource.schema, resource.noun)


def act_on_all(resource: Resource, object_ids: Sequence[int], act: Callable[[Any], None]) -> Response:
    """Lock the objects, call `act` with each, and answer like an atomic bulk write: with a result for each, in order.

    `act` raises what a request about the object alone would be answered. If it does for any of them, none is changed,
    and the answer has the errors of all.
    """
    items = [Item(identity) for identity in object_ids]
    for item, target in _locked(resource, items).items():
        try:
            act(target)
        except ApiError as error:
            item.error = error
    return conclude_items(resource, items, "atomic")


def _locked(resource: Resource, items: Sequence[Item]) -> dict[Item, Any]:
    """The objects of the items by their ids, locked in that order: requests about the same ones form no circle.

    Sets the error of an item whose object is missing, hidden or named before.
    """
    model: Any = resource.model
    chosen = sa.select(model).where(any_of(model.id, [item.object_id for item in items]), *visible(model))
    # What the session has read before may have changed while this waited for the locks.
    ordered = chosen.order_by(model.id).with_for_update().execution_options(populate_existing=True)
    targets = {target.id: target for target in db.session.scalars(ordered)}
    seen: set[int] = set()
    for item in items:
        assert item.object_id is not None
        if item.object_id not in targets:
            item.error = not_found(resource, item.object_id)
        elif item.object_id in seen:
            item.error = Invalid(errors={"id": [tr("An item before is about the same object.", rule="repeated")]})
        seen.add(item.object_id)
    by_id = {item.object_id: item for item in valid(items)}
    return {by_id[identity]: target for identity, target in targets.items() if identity in by_id}
