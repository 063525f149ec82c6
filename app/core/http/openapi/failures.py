"""Schemas of error responses: problems of fields, conflicts, and the results of a bulk write."""

import functools
from typing import Any

from marshmallow import INCLUDE, Schema, fields

BULK_STATUS = {"enum": ["ok", "error", "not_found", "forbidden", "conflict"], "enumeration": "BulkStatus"}


class ProblemOfFieldSchema(Schema):
    """A rule that a field breaks, with its parameters beside it (`min`, `max`, `choices`, …)."""

    class Meta:
        unknown = INCLUDE

    rule = fields.String(required=True, metadata={"description": "A stable slug to branch on."})
    message = fields.String(required=True, metadata={"description": "What is wrong, in the language of the answer."})


class HolderSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)


class ConflictSchema(Schema):
    """What stands in the way of one object of a restore, or of one row of an import."""

    id = fields.Integer(required=True, allow_none=True)
    message = fields.String(required=True)
    type = fields.String(metadata={"description": "Of a restore: the resource."})
    name = fields.String(allow_none=True)
    problem = fields.String(
        metadata={
            "enum": ["changed", "gone", "invalid", "newer", "taken"],
            "enumeration": "RestoreProblem",
            "description": "Of a restore: the kind of the conflict.",
        }
    )
    field = fields.String()
    by = fields.Integer(metadata={"description": "Which object has the value."})
    now = fields.Raw(metadata={"description": "The value of the field."})
    then = fields.Raw(metadata={"description": "The value that the record has set."})
    sheet = fields.String(metadata={"description": "Of an import: where the row is."})
    row = fields.Integer()
    resource = fields.String()


class BulkFailureSchema(Schema):
    """The result of an item of a bulk write that stored nothing."""

    status = fields.String(required=True, metadata=BULK_STATUS)
    id = fields.Integer(required=True, allow_none=True)
    data = fields.Raw(required=True, allow_none=True, metadata={"description": "null: nothing was stored."})
    error = fields.Nested("FailureSchema", required=True, allow_none=True)


class FailureDetailsSchema(Schema):
    """Why it failed; the reason decides which other members there are."""

    class Meta:
        unknown = INCLUDE

    reason = fields.String(required=True, metadata={"description": "A stable slug to branch on."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "What is wrong with which field; nested fields are dotted."},
    )
    problems = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Nested(ProblemOfFieldSchema)),
        metadata={"description": "The same as `errors`, for programs: the rule that each field breaks."},
    )
    parameters = fields.Dict(metadata={"description": "The values in the message, by name."})
    did_you_mean = fields.List(fields.String(), metadata={"description": "400: the nearest names that do exist."})
    current = fields.Dict(metadata={"description": "412: the object as it is now."})
    holder = fields.Nested(HolderSchema, metadata={"description": "409: the user who holds the GPU."})
    children = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "409: how many objects of which resource keep this one from being deleted."},
    )
    conflicts = fields.List(
        fields.Nested(ConflictSchema),
        metadata={"description": "409: the rows of a plan whose objects have changed; what stands in a restore's way."},
    )
    count = fields.Integer(metadata={"description": "409: how many objects the filter of a bulk write matches."})
    results = fields.List(
        fields.Nested(BulkFailureSchema),
        metadata={"description": "A bulk write that stored nothing: the result of each item, in order."},
    )
    database = fields.String(metadata={"description": "503: the state of the database."})
    cache = fields.String(metadata={"description": "503: the state of the cache."})


class FailureSchema(Schema):
    code = fields.Integer(required=True, metadata={"description": "The HTTP status.", "example": 422})
    message = fields.String(required=True, metadata={"description": "One sentence for a person."})
    data = fields.Nested(FailureDetailsSchema, required=True)


@functools.cache
def stale_of(schema: Any) -> type[Schema]:
    """The failure of a write whose If-Match does not match, with the object of this schema as it is now."""
    name = schema.__name__.removesuffix("Schema")
    answer = schema.answer() if hasattr(schema, "answer") else schema
    current = fields.Nested(answer, required=True, metadata={"description": "The object as it is now."})
    reason = fields.String(required=True, metadata={"enum": ["version_mismatch"]})
    details = type(f"{name}StaleDetailsSchema", (Schema,), {"reason": reason, "current": current})
    return type(f"{name}StaleSchema", (FailureSchema,), {"data": fields.Nested(details, required=True)})
