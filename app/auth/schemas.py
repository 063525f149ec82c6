"""What travels when somebody signs in."""

from marshmallow import Schema, fields, validate

from app.users.schemas import UserSchema


class LoginSchema(Schema):
    username = fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"description": "The username or the e-mail."},
    )
    password = fields.String(required=True, validate=validate.Length(1, 1024))


class TokensSchema(Schema):
    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    token_type = fields.String(required=True, metadata={"enum": ["Bearer"]})
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds for which the access token lives."})


class LoginResultSchema(TokensSchema):
    user = fields.Nested(UserSchema.answer(), required=True)


class ProfileSchema(UserSchema):
    """What people may change of themselves."""

    class Meta(UserSchema.Meta):
        fields = ("email", "full_name", "phone")


class ChangePasswordSchema(Schema):
    current_password = fields.String(required=True, validate=validate.Length(1, 1024))
    new_password = fields.String(required=True, validate=validate.Length(1, 1024))
