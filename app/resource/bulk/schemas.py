"""The schemas of a resource's bulk requests and their answers."""

import functools
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.core.http.openapi.failures import BULK_STATUS, FailureSchema
from app.core.messages import tr
from app.resource.declaration import Resource
from app.resource.json_fields import Integer
from app.resource.schema import changes_field

MAX_BULK_ITEMS = 1000

Body = dict[str, Any]


class Objects(fields.List[Any]):
    """Items that are validated one by one, so that each has a result; documented as what they must be."""

    def __init__(self, inner: Any, **options: Any) -> None:
        super().__init__(inner, validate=validate.Length(1, MAX_BULK_ITEMS), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class BulkSchema(Schema):
    """Items, or a filter with the number of objects that it is expected to match."""

    mode = fields.String(
        load_default="atomic",
        validate=validate.OneOf(("atomic", "partial")),
        metadata={
            "description": "`atomic` stores all or nothing, `partial` whatever is right.",
            "enumeration": "BulkMode",
        },
    )


class FilteredBulkSchema(BulkSchema):
    filter = fields.Dict(keys=fields.String())
    expected_count = Integer(validate=validate.Range(min=0))

    @validates_schema
    def check_either(self, values: Body, **_: Any) -> None:
        if ("items" in values) == ("filter" in values):
            raise ValidationError({"items": [tr("Give either items or a filter.", rule="required")]})
        for name in {"set", "expected_count"} & set(values):
            if "filter" not in values:
                raise ValidationError({name: [tr("Goes with a filter only.", rule="together")]})
        if "filter" in values and "set" in self.fields and not values.get("set"):
            raise ValidationError({"set": [tr("Say what to change.", rule="required")]})


def body_schemas(resource: Resource, name: str, selection: str) -> tuple[type[Schema], type[Schema], type[Schema]]:
    """The schemas of the three bodies, which document what each item may hold.

    `selection` names the schema of the filter in the document.
    """
    schema = resource.schema
    identity = {"id": Integer(required=True), "suffix": ""}
    change = type(f"{name}ItemSchema", (schema.change(),), identity)
    others = tuple(member for member in change().fields if member != "id")
    one = fields.Raw(
        metadata={
            "anyOf": [
                {"type": "integer"},
                {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
            ]
        }
    )
    selected = fields.Dict(keys=fields.String(), metadata={"component": selection})
    members: list[tuple[str, type[Schema], dict[str, Any]]] = [
        ("Create", BulkSchema, {"items": Objects(fields.Nested(schema), required=True)}),
        (
            "Change",
            FilteredBulkSchema,
            {
                "items": Objects(fields.Nested(change(partial=others))),
                "filter": selected,
                "set": fields.Dict(
                    metadata={"description": "With a filter: the fields to change.", "component": f"{name}Patch"}
                ),
            },
        ),
        ("Delete", FilteredBulkSchema, {"items": Objects(one), "filter": selected}),
    ]
    create, change_many, delete = (
        type(f"{name}Bulk{what}Schema", (base,), declared) for what, base, declared in members
    )
    return create, change_many, delete


@functools.cache
def answer_schema_of(schema: type[Any], name: str) -> type[Schema]:
    """The schema of the results of all bulk writes and actions of a resource."""
    result = type(
        f"{name}ResultSchema",
        (Schema,),
        {
            "status": fields.String(required=True, metadata=BULK_STATUS),
            "id": fields.Integer(required=True, allow_none=True),
            "data": fields.Nested(
                schema.answer(),
                required=True,
                allow_none=True,
                metadata={"description": "The object as it is now; null where it was found by a filter, or is gone."},
            ),
            "changes": changes_field("Only in the dry run of a change: what would change, by field.", allow_none=True),
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
