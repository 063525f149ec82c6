"""Schemas of password reset links and of what they do."""

from marshmallow import Schema, fields, validate

from app.users.passwords import PASSWORD_METADATA, check_new_password


class ForgottenPasswordSchema(Schema):
    username = fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"description": "The username or the e-mail address."},
    )


class ResetLinkSchema(Schema):
    token = fields.String(
        required=True, validate=validate.Length(1, 255), metadata={"description": "The token in the link."}
    )


class LinkOwnerSchema(Schema):
    username = fields.String(required=True)


class ResetPasswordSchema(ResetLinkSchema):
    new_password = fields.String(required=True, validate=check_new_password, metadata=PASSWORD_METADATA)
