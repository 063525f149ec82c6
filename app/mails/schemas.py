"""Schemas of the list of mails. The content is left out: it may hold a link that grants access."""

from marshmallow import Schema, fields

from app.core.http.paging import PageSchema
from app.core.mail.outbox import MailState


class MailQuerySchema(PageSchema):
    state = fields.List(fields.Enum(MailState, by_value=True), metadata={"description": "Repeated: any of them."})


class MailSchema(Schema):
    id = fields.Integer(required=True)
    recipient = fields.String(required=True)
    subject = fields.String(required=True)
    state = fields.Enum(MailState, by_value=True, required=True)
    attempts = fields.Integer(required=True, metadata={"description": "How often the mail server was asked."})
    error = fields.String(required=True, allow_none=True, metadata={"description": "Why the latest attempt failed."})
    created_at = fields.AwareDateTime(required=True)
    concluded_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When it was sent or given up; null while it waits."}
    )
