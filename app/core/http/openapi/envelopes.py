"""The schemas of the envelope, as the document of the API shows them."""

import functools
from typing import cast

from marshmallow import Schema, fields


class PaginationSchema(Schema):
    """By page (`page`, `pages`), or by cursor where the request has one (`next_cursor`, `prev_cursor`)."""

    page = fields.Integer()
    page_size = fields.Integer(required=True)
    total = fields.Integer(required=True, allow_none=True)
    pages = fields.Integer(allow_none=True)
    at_least = fields.Boolean(
        metadata={
            "description": "Only there, and true, where counting ended at `total` and there are more: `pages` is null."
        }
    )
    left_out = fields.List(
        fields.String(),
        metadata={
            "description": "Only there where records of the audit log were not searched: their actions. `field`, "
            "`from` and `to` search creations only where `action=create` asks for them."
        },
    )
    next_cursor = fields.String(allow_none=True)
    prev_cursor = fields.String(allow_none=True)


class EnvelopeSchema(Schema):
    code = fields.Integer(required=True, metadata={"enum": [0]})
    message = fields.String(required=True, metadata={"example": "success"})


@functools.cache
def envelope_of(schema: type[Schema] | None, *, many: bool = False, nullable: bool = False) -> type[Schema]:
    """The envelope's class around a schema (`None`: the data are null); `many` adds the pagination block."""
    if schema is None:
        return type("EmptyEnvelope", (EnvelopeSchema,), {"data": fields.Raw(required=True, allow_none=True)})
    name = schema.__name__.removesuffix("Schema")
    # The schemas of bodies and of answers have different required fields.
    if hasattr(schema, "answer"):
        schema = cast("type[Schema]", schema.answer())
    if not many:
        data = fields.Nested(schema, required=True, allow_none=nullable)
        return type(f"{name}Envelope", (EnvelopeSchema,), {"data": data})
    members = {
        "data": fields.List(fields.Nested(schema), required=True),
        "pagination": fields.Nested(PaginationSchema, required=True),
    }
    return type(f"{name}PageEnvelope", (EnvelopeSchema,), members)
