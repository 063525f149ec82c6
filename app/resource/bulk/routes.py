"""`POST`, `PATCH` and `DELETE /api/<resource>/bulk`: many objects of a resource in one request."""

from typing import Any

from flask import Response
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import MultiDict

from app.core.errors import Conflict, Invalid, PreconditionRequired, dotted
from app.core.http.access import requires
from app.core.http.api import Blueprint
from app.core.http.openapi.envelopes import envelope_of
from app.core.http.openapi.operations import LOCALIZED, camel_case, headers_of
from app.core.messages import tr
from app.resource.bulk import items as batch
from app.resource.bulk.answers import conclude_items
from app.resource.bulk.item import Item
from app.resource.bulk.schemas import Body, answer_schema_of, body_schemas
from app.resource.declaration import Resource
from app.resource.json_fields import Integer
from app.resource.query.documentation import document_selection
from app.resource.query.filters import LIST_PARAMETERS, unknown
from app.resource.query.list_query import parse_query
from app.resource.schema import READ_ONLY, DeleteQuerySchema, Sent, store_query

MAX_BULK_MATCHED = 10_000
"""Objects that a filter may match: one transaction holds the locks of them all."""

IDENTITY = Integer()


class CountMismatch(Conflict):
    reason, message = "count_mismatch", tr("The filter matches another number of objects than you expect.")


def add_bulk_routes(blueprint: Blueprint, resource: Resource) -> None:
    """Give a resource its bulk writes."""
    schema, store_query_schema = resource.schema, store_query(resource.model)
    name = resource.noun
    create_schema, change_schema, delete_schema = body_schemas(resource, name, document_selection(blueprint, resource))
    answer_schema = answer_schema_of(schema, name)
    whole, partial = schema(), schema.change()(partial=True)
    titles = resource.titles[0]
    # As `response` makes it, so that it is the same schema in the document.
    envelope = envelope_of(answer_schema, many=False, nullable=False)

    @blueprint.post("/bulk")
    @requires(resource.write)
    @blueprint.arguments(store_query_schema, location="query")
    @blueprint.arguments(create_schema)
    @blueprint.doc(summary=f"Create many {titles}.", operationId=camel_case("create", resource.name))
    @blueprint.alt_response(
        200, schema=envelope, headers=headers_of(*LOCALIZED), description="Some items are wrong.", success=True
    )
    @blueprint.response(201, answer_schema, headers=LOCALIZED)
    def create_many(query: dict[str, bool], body: Body) -> Response:
        items = [_item(sent, whole) for sent in body["items"]]
        batch.create(resource, items, query)
        return conclude_items(resource, items, body["mode"], creating=True)

    @blueprint.patch("/bulk")
    @requires(resource.write)
    @blueprint.arguments(store_query_schema, location="query")
    @blueprint.arguments(change_schema)
    @blueprint.doc(
        summary=f"Change many {titles}, one by one or all that a filter matches.",
        operationId=camel_case("update", resource.name),
    )
    @blueprint.response(200, answer_schema, headers=LOCALIZED)
    def change_many(query: dict[str, bool], body: Body) -> Response:
        if "items" in body:
            items = [_identified(sent, partial) for sent in body["items"]]
        else:
            values = _values_for_all(body["set"], partial)
            items = [Item(identity, values) for identity in _matching(resource, body)]
        batch.update(resource, items, query)
        return conclude_items(resource, items, body["mode"], shown="items" in body, changing=True)

    @blueprint.delete("/bulk")
    @requires(resource.write)
    @blueprint.arguments(DeleteQuerySchema, location="query")
    @blueprint.arguments(delete_schema)
    @blueprint.doc(
        summary=f"Delete many {titles}, one by one or all that a filter matches.",
        operationId=camel_case("delete", resource.name),
    )
    @blueprint.response(200, answer_schema, headers=LOCALIZED)
    def delete_many(query: dict[str, bool], body: Body) -> Response:
        if "items" in body:
            items = [_identified(sent) for sent in body["items"]]
        else:
            items = [Item(identity) for identity in _matching(resource, body)]
        batch.delete(resource, items, cascade=query["cascade"])
        return conclude_items(resource, items, body["mode"], shown=False)


def _item(sent: Any, schema: Schema) -> Item:
    item = Item()
    item.load(schema, sent)
    return item


def _values_for_all(sent: Any, schema: Schema) -> dict[str, Any]:
    """What a filter sets; nothing was read here that could be sent back. Raises Invalid."""
    try:
        values: Sent = schema.load(sent)
    except ValidationError as error:
        raise Invalid(errors=dotted({"set": error.messages})) from None
    if values.read_only:
        errors = {**values.errors, **{name: [READ_ONLY] for name in values.read_only}}
        raise Invalid(errors=dotted({"set": errors}))
    return values


def _identified(sent: Any, schema: Schema | None = None) -> Item:
    """An item that names its object; without a schema the id alone will do."""
    if not isinstance(sent, dict):
        sent = {"id": sent} if schema is None else {}
    try:
        identity = IDENTITY.deserialize(sent["id"])
    except (KeyError, ValidationError):
        return Item(error=Invalid(errors={"id": [tr("Must be the id of an object.", rule="type")]}))
    item = Item(identity)
    values = {name: value for name, value in sent.items() if name != "id"}
    if schema is not None:
        item.load(schema, values)
    elif values:
        item.error = Invalid(errors={name: [tr("Unknown field.", rule="unknown")] for name in values})
    return item


def _matching(resource: Resource, body: Body) -> list[int]:
    """The ids of the objects that the filter matches, if their number is the expected one."""
    if "expected_count" not in body:
        raise PreconditionRequired(tr("Say with expected_count how many objects the filter is to match."))
    texts: MultiDict[str, str] = MultiDict()
    for name, value in body["filter"].items():
        if name in LIST_PARAMETERS and name != "q":
            raise unknown("parameter", name, resource.fields)
        for each in value if isinstance(value, list) else [value]:
            texts.add(name, _as_text(name, each))
    ids = batch.lock_matching(resource, parse_query(resource, texts), MAX_BULK_MATCHED + 1)
    if len(ids) > MAX_BULK_MATCHED:
        raise Invalid(
            errors={"filter": [tr("May match at most {max:,} objects: narrow it.", rule="range", max=MAX_BULK_MATCHED)]}
        )
    if len(ids) != body["expected_count"]:
        raise CountMismatch(tr("The filter matches {count} objects.", count=len(ids)), count=len(ids))
    return ids


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Invalid(
        errors={f"filter.{name}": [tr("Must be text, a number, true, false, or a list of these.", rule="type")]}
    )
