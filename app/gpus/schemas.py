"""GPUs and their assignments as JSON."""

from marshmallow import Schema, fields, validate

from app.core.database import MAX_ID
from app.gpus.models import Gpu
from app.resource import ResourceSchema
from app.resource.schema import Moment, ReferenceSchema, Text


class GpuSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Gpu


class AssignmentSchema(Schema):
    """To whom, for what and until when."""

    user_id = fields.Integer(required=True, strict=True, validate=validate.Range(1, MAX_ID))
    purpose = Text(length=255, allow_none=True, load_default=None)
    expires_at = Moment(allow_none=True, load_default=None)


class AssignmentRecordSchema(Schema):
    id = fields.Integer(required=True)
    gpu_id = fields.Integer(required=True)
    user = fields.Nested(ReferenceSchema, required=True, allow_none=True)
    username = fields.String(required=True)
    assigned_by = fields.String(required=True)
    purpose = fields.String(required=True, allow_none=True)
    assigned_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    released_at = fields.AwareDateTime(required=True, allow_none=True)
    released_by = fields.String(required=True, allow_none=True)
