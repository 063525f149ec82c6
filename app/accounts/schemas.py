"""Schema of a password reset."""

from marshmallow import Schema, fields, validate


class ResetPasswordSchema(Schema):
    token = fields.String(
        required=True, validate=validate.Length(1, 255), metadata={"description": "The token in the link."}
    )
    new_password = fields.String(required=True, validate=validate.Length(1, 1024))
