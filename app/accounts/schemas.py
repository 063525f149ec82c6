"""Schema of a password reset."""

from marshmallow import Schema, fields, validate

from app.users.passwords import PASSWORD_METADATA, check_new_password


class ResetPasswordSchema(Schema):
    token = fields.String(
        required=True, validate=validate.Length(1, 255), metadata={"description": "The token in the link."}
    )
    new_password = fields.String(required=True, validate=check_new_password, metadata=PASSWORD_METADATA)
