"""Audit records as JSON."""

from marshmallow import Schema, fields

from app.core.audit.actions import ACTIONS
from app.core.audit.models import AuditLog
from app.resource import ResourceSchema
from app.resource.schema import changes_field


class AuditLogSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = AuditLog

    action = fields.String(required=True, metadata={"enum": list(ACTIONS), "enumeration": "AuditAction"})
    changes = changes_field(required=True)
    snapshot = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "For a deletion: the whole object, by field as it was stored then."},
    )


class HistorySchema(AuditLogSchema):
    """A record of one object for everybody who may read the object: without address, user agent and token."""

    class Meta(AuditLogSchema.Meta):
        exclude = ("ip_address", "user_agent", "token_id")


class RestoredSchema(Schema):
    type = fields.String(required=True)
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    version = fields.Integer(required=True)


class RestoredReferenceSchema(RestoredSchema):
    field = fields.String(required=True)
    value = fields.Integer(required=True)


class RestorationSchema(Schema):
    """What was restored, or with `dry_run` what would be."""

    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    objects = fields.List(fields.Nested(RestoredSchema), required=True, metadata={"description": "At most 1000."})
    reattached = fields.List(
        fields.Nested(RestoredReferenceSchema),
        required=True,
        metadata={"description": "Tasks that the deletion had detached and that point to their object again."},
    )
    left_out = fields.List(
        fields.Nested(RestoredReferenceSchema),
        required=True,
        metadata={
            "description": "References that were not restored: set by the application alone, to objects that no longer "
            "exist; or of tasks that the deletion had detached, and that are deleted or about something else now."
        },
    )
