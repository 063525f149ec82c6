"""What changed, as a front end is told it."""

from marshmallow import Schema, fields


class FeedQuerySchema(Schema):
    after = fields.String(
        metadata={
            "description": "The cursor of the answer before. Left out: from now on, which answers with a first cursor. "
            "Empty: from the beginning of the log."
        }
    )
    types = fields.String(
        metadata={"description": "Only these resources, separated by commas.", "example": "servers,gpus"}
    )


class EventSchema(Schema):
    type = fields.String(required=True, metadata={"description": "The resource."})
    id = fields.Integer(required=True)
    name = fields.String(required=True, allow_none=True)
    action = fields.String(required=True, metadata={"description": "create, update, delete, restore, assign, …"})
    version = fields.Integer(required=True, metadata={"description": "Of one object they come in their order."})
    changed = fields.List(
        fields.String(), required=True, data_key="fields", metadata={"description": "The fields that changed."}
    )
    at = fields.AwareDateTime(required=True)


class FeedSchema(Schema):
    events = fields.List(fields.Nested(EventSchema), required=True)
    cursor = fields.String(required=True, metadata={"description": "For `after` of the next request."})
    more = fields.Boolean(required=True, metadata={"description": "There is more already: ask again at once."})
