"""Audit records as JSON."""

from marshmallow import fields

from app.core.audit import AuditLog
from app.resource import ResourceSchema


class AuditLogSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = AuditLog

    changes = fields.Dict(required=True, metadata={"description": "{field: {old, new}}"})
    snapshot = fields.Dict(required=True, allow_none=True, metadata={"description": "On delete: all that there was."})
