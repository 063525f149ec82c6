"""The change feed as JSON."""

from marshmallow import Schema, fields

from app.core.audit.actions import ACTIONS


class FeedQuerySchema(Schema):
    after = fields.String(
        metadata={
            "description": "The cursor of the previous answer. Left out: no events, and a cursor from which to read "
            "new ones. Empty: from the beginning of the log."
        }
    )
    types = fields.String(
        metadata={"description": "Only these resources, separated by commas.", "example": "servers,gpus"}
    )


class EventSchema(Schema):
    type = fields.String(required=True, metadata={"description": "The resource."})
    id = fields.Integer(required=True)
    name = fields.String(required=True, allow_none=True)
    action = fields.String(required=True, metadata={"enum": list(ACTIONS), "enumeration": "AuditAction"})
    version = fields.Integer(required=True, metadata={"description": "Rises by one from event to event of an object."})
    changed = fields.List(
        fields.String(), required=True, data_key="fields", metadata={"description": "The fields that changed."}
    )
    at = fields.AwareDateTime(required=True)


class FeedSchema(Schema):
    events = fields.List(fields.Nested(EventSchema), required=True)
    cursor = fields.String(required=True, metadata={"description": "For `after` of the next request."})
    more = fields.Boolean(
        required=True, metadata={"description": "Whether more events are waiting: ask again at once."}
    )
