"""`POST`, `PATCH` and `DELETE /api/<resource>/bulk`: many objects of a resource in one request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from werkzeug.datastructures import MultiDict

from app.core import audit
from app.core.api import Blueprint
from app.core.envelope import FailureSchema, envelope_of, failure_body, success
from app.core.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotApplied,
    NotFound,
    PreconditionRequired,
    dotted,
    error_of,
)
from app.core.security import requires
from app.core.statements import any_of
from app.resource import batch
from app.resource.batch import Item
from app.resource.declaration import Resource
from app.resource.dry_run import conclude
from app.resource.filters import LIST_PARAMETERS, unknown
from app.resource.query import parse_query, select_where
from app.resource.schema import DeleteQuerySchema, WriteQuerySchema

MAX_ITEMS = 1000
MAX_MATCHED = 10_000
"""Objects that a filter may match: one transaction holds the locks of them all."""

STATUSES = ("ok", "error", "not_found", "forbidden", "conflict")

Body = dict[str, Any]


class Objects(fields.List[Any]):
    """Items that are validated one by one, so that each has a result; documented as what they must be."""

    def __init__(self, inner: Any, **options: Any) -> None:
        super().__init__(inner, validate=validate.Length(1, MAX_ITEMS), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class BulkSchema(Schema):
    """Items, or a filter with the number of objects that it is expected to match."""

    mode = fields.String(
        load_default="atomic",
        validate=validate.OneOf(("atomic", "partial")),
        metadata={"description": "`atomic` (default) stores all or nothing, `partial` whatever is right."},
    )


class FilteredBulkSchema(BulkSchema):
    filter = fields.Dict(
        keys=fields.String(),
        metadata={
            "description": "As in a list: `{status: active, memory_gb__gte: 64}`; a list of values is any of them."
        },
    )
    expected_count = fields.Integer(strict=True, validate=validate.Range(min=0))

    @validates_schema
    def check_either(self, values: Body, **_: Any) -> None:
        if ("items" in values) == ("filter" in values):
            raise ValidationError({"items": ["Give either items or a filter."]})
        for name in {"set", "expected_count"} & set(values):
            if "filter" not in values:
                raise ValidationError({name: ["Goes with a filter only."]})
        if "filter" in values and "set" in self.fields and not values.get("set"):
            raise ValidationError({"set": ["Say what to change."]})


def add_bulk_routes(blueprint: Blueprint, resource: Resource) -> None:
    """Give a resource its bulk writes."""
    schema = resource.schema
    name = schema.__name__.removesuffix("Schema")
    create_schema, change_schema, delete_schema = _bodies(resource, name)
    answer_schema = _answer_schema(schema, name)
    whole, partial = schema(), schema(partial=True)
    titles = resource.titles[0]
    # As `response` makes it, so that it is the same schema in the document.
    envelope = envelope_of(answer_schema, many=False, nullable=False, selected=False)

    @blueprint.post("/bulk")
    @requires(resource.write)
    @blueprint.arguments(WriteQuerySchema, location="query")
    @blueprint.arguments(create_schema)
    @blueprint.doc(summary=f"Create many {titles}.")
    @blueprint.alt_response(200, schema=envelope, description="Some items are wrong.", success=True)
    @blueprint.response(201, answer_schema)
    def create_many(query: dict[str, bool], body: Body) -> Response:
        items = [_item(sent, whole) for sent in body["items"]]
        batch.create(resource, items)
        return _conclude(resource, items, body["mode"], query, creating=True)

    @blueprint.patch("/bulk")
    @requires(resource.write)
    @blueprint.arguments(WriteQuerySchema, location="query")
    @blueprint.arguments(change_schema)
    @blueprint.doc(summary=f"Change many {titles}, one by one or all that a filter matches.")
    @blueprint.response(200, answer_schema)
    def change_many(query: dict[str, bool], body: Body) -> Response:
        if "items" in body:
            items = [_identified(sent, partial) for sent in body["items"]]
        else:
            try:
                values = partial.load(body["set"])
            except ValidationError as error:
                raise Invalid(errors=dotted({"set": error.messages})) from None
            items = [Item(identity, values) for identity in _matching(resource, body)]
        batch.update(resource, items)
        return _conclude(resource, items, body["mode"], query, shown="items" in body)

    @blueprint.delete("/bulk")
    @requires(resource.write)
    @blueprint.arguments(DeleteQuerySchema, location="query")
    @blueprint.arguments(delete_schema)
    @blueprint.doc(summary=f"Delete many {titles}, one by one or all that a filter matches.")
    @blueprint.response(200, answer_schema)
    def delete_many(query: dict[str, bool], body: Body) -> Response:
        if "items" in body:
            items = [_identified({"id": sent} if isinstance(sent, int) else sent) for sent in body["items"]]
        else:
            items = [Item(identity) for identity in _matching(resource, body)]
        batch.delete(resource, items, cascade=query["cascade"])
        return _conclude(resource, items, body["mode"], query, shown=False)


def _bodies(resource: Resource, name: str) -> tuple[type[Schema], type[Schema], type[Schema]]:
    """The schemas of the three bodies, which document what each item may hold."""
    schema = resource.schema
    identity = {"id": fields.Integer(strict=True, required=True), "suffix": ""}
    change = type(f"{name}ItemSchema", (schema,), identity)
    others = tuple(member for member in change().fields if member != "id")
    one = fields.Raw(
        metadata={
            "anyOf": [
                {"type": "integer"},
                {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
            ]
        }
    )
    members: list[tuple[str, type[Schema], dict[str, Any]]] = [
        ("Create", BulkSchema, {"items": Objects(fields.Nested(schema), required=True)}),
        (
            "Change",
            FilteredBulkSchema,
            {
                "items": Objects(fields.Nested(change(partial=others))),
                "set": fields.Dict(metadata={"description": "With a filter: the fields to change."}),
            },
        ),
        ("Delete", FilteredBulkSchema, {"items": Objects(one)}),
    ]
    create, change_many, delete = (
        type(f"{name}Bulk{what}Schema", (base,), declared) for what, base, declared in members
    )
    return create, change_many, delete


def _answer_schema(schema: type[Any], name: str) -> type[Schema]:
    result = type(
        f"{name}ResultSchema",
        (Schema,),
        {
            "status": fields.String(required=True, validate=validate.OneOf(STATUSES)),
            "id": fields.Integer(required=True, allow_none=True),
            "data": fields.Nested(
                schema.answer(),
                required=True,
                allow_none=True,
                metadata={"description": "The object as it is now; null where it was found by a filter, or is gone."},
            ),
            "error": fields.Nested(
                FailureSchema,
                required=True,
                allow_none=True,
                metadata={"description": "What a request of its own would have been answered."},
            ),
        },
    )
    return type(
        f"{name}BulkAnswerSchema",
        (Schema,),
        {
            "results": fields.List(fields.Nested(result), required=True, metadata={"description": "In order."}),
            "counts": fields.Dict(keys=fields.String(), values=fields.Integer(), required=True),
        },
    )


def _item(sent: Any, schema: Schema) -> Item:
    item = Item()
    item.load(schema, sent)
    return item


def _identified(sent: Any, schema: Schema | None = None) -> Item:
    """An item that names its object."""
    identity = sent.get("id") if isinstance(sent, dict) else None
    if not isinstance(identity, int) or isinstance(identity, bool):
        return Item(error=Invalid(errors={"id": ["Must be the id of an object."]}))
    item = Item(identity)
    values = {name: value for name, value in sent.items() if name != "id"}
    if schema is not None:
        item.load(schema, values)
    elif values:
        item.error = Invalid(errors={name: ["Unknown field."] for name in values})
    return item


def _matching(resource: Resource, body: Body) -> list[int]:
    """The ids of what the filter matches, if there are as many as expected."""
    if "expected_count" not in body:
        raise PreconditionRequired("Say with expected_count how many objects the filter is to match.")
    texts: MultiDict[str, str] = MultiDict()
    for name, value in body["filter"].items():
        if name in LIST_PARAMETERS and name != "q":
            raise unknown("parameter", name, resource.fields)
        for each in value if isinstance(value, list) else [value]:
            texts.add(name, _as_text(name, each))
    ids = batch.lock_matching(resource, parse_query(resource, texts), MAX_MATCHED + 1)
    if len(ids) > MAX_MATCHED:
        raise Invalid(errors={"filter": [f"May match at most {MAX_MATCHED:,} objects: narrow it."]})
    if len(ids) != body["expected_count"]:
        raise Conflict(f"The filter matches {len(ids)} objects.", reason="count_mismatch", count=len(ids))
    return ids


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Invalid(errors={f"filter.{name}": ["Must be text, a number, true, false, or a list of these."]})


def _conclude(
    resource: Resource,
    items: Sequence[Item],
    mode: str,
    query: Mapping[str, bool],
    *,
    creating: bool = False,
    shown: bool = True,
) -> Response:
    """Answer with a result for each item; where all or nothing was asked for and some are wrong, fail as the first."""
    wrong = next((item.error for item in items if item.error is not None), None)
    if mode == "atomic" and wrong is not None:
        count = sum(item.error is not None for item in items)
        for item in items:
            item.error = item.error or NotApplied()
            item.object_id = None if creating else item.object_id
        message = f"Nothing was stored: {count} of {len(items)} items are wrong."
        results = [_result(item, None) for item in items]
        raise error_of(wrong.status)(message, reason="bulk_failed", results=results)
    stored = [item.object_id for item in items if item.error is None]
    objects = {}
    if shown:
        identity = resource.model.__table__.c.id
        objects = {each["id"]: each for each in select_where(resource, any_of(identity, stored))}
    results = [_result(item, objects.get(item.object_id)) for item in items]
    _record_denied(resource, items)
    counts = Counter(result["status"] for result in results)
    data = {"results": results, "counts": {name: counts[name] for name in STATUSES}}
    return conclude(success(data, 201 if creating and counts["ok"] == len(items) else 200), query)


def _result(item: Item, shown: dict[str, Any] | None) -> dict[str, Any]:
    error = item.error
    return {
        "status": "ok" if error is None else _status_of(error),
        "id": item.object_id,
        "data": shown if error is None else None,
        "error": None if error is None else failure_body(error),
    }


def _status_of(error: ApiError) -> str:
    for kind, status in ((NotFound, "not_found"), (Forbidden, "forbidden"), (Conflict, "conflict")):
        if isinstance(error, kind):
            return status
    return "error"


def _record_denied(resource: Resource, items: Sequence[Item]) -> None:
    """Refusals are recorded, also where the rest of the request goes on."""
    path = f"{request.method} {request.path}"
    table = resource.model.__tablename__
    audit.record_many(
        audit.entry("denied", table, item.object_id, path, changes={})
        for item in items
        if isinstance(item.error, Forbidden)
    )
