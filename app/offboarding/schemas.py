"""Schemas of offboarding."""

from marshmallow import Schema, fields, validate

from app.core.values import MAX_ID
from app.resource import ReferenceSchema


class DeactivationSchema(Schema):
    release_gpus = fields.Boolean(load_default=False, metadata={"description": "Release the GPUs that the user holds."})


class TransferSchema(DeactivationSchema):
    to = fields.Integer(
        required=True, strict=True, validate=validate.Range(1, MAX_ID), metadata={"description": "The new owner."}
    )


class HeldGpuSchema(Schema):
    """A GPU that the user holds, or held until it was released now."""

    id = fields.Integer(required=True)
    model = fields.String(required=True)
    server = fields.Nested(ReferenceSchema, required=True)
    purpose = fields.String(required=True, allow_none=True)
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    is_released = fields.Boolean(required=True)


class DeactivatedSchema(Schema):
    user = fields.Nested(ReferenceSchema, required=True)
    gpus = fields.List(fields.Nested(HeldGpuSchema), required=True)


class TransferredSchema(Schema):
    counts = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "How many objects of each resource, and imports, have the new owner."},
    )
    gpus = fields.List(
        fields.Nested(HeldGpuSchema),
        required=True,
        metadata={"description": "While any is held, the user cannot be deleted."},
    )
