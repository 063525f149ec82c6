"""Schemas of login, registration, profile and sessions."""

from marshmallow import Schema, fields, validate

from app.users.passwords import PASSWORD_METADATA, check_new_password
from app.users.schemas import UserSchema


class AccountSchema(UserSchema):
    """One's own account: what administrators see of it, without the state of its lock."""

    class Meta(UserSchema.Meta):
        exclude = ("failed_login_attempts", "locked_until")


class RegistrationSchema(UserSchema):
    """The fields of a registration, without role and is_active."""

    class Meta(UserSchema.Meta):
        fields = ("username", "email", "full_name", "phone", "language", "password")


class LoginSchema(Schema):
    username = fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"description": "The username or the e-mail address."},
    )
    password = fields.String(required=True, validate=validate.Length(1, 1024))


class TokensSchema(Schema):
    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    token_type = fields.String(required=True, metadata={"enum": ["Bearer"]})
    expires_in = fields.Integer(required=True, metadata={"description": "Lifetime of the access token in seconds."})


class SignedInSchema(TokensSchema):
    user = fields.Nested(AccountSchema.answer(), required=True)


class BrowserSessionSchema(Schema):
    expires_in = fields.Integer(required=True, metadata={"description": "Lifetime of the access cookie in seconds."})


class BrowserSignedInSchema(BrowserSessionSchema):
    user = fields.Nested(AccountSchema.answer(), required=True)


class ProfileSchema(UserSchema):
    """The fields of their own account that users may change."""

    class Meta(UserSchema.Meta):
        fields = ("email", "full_name", "phone", "language", "current_password")

    current_password = fields.String(
        load_only=True,
        validate=validate.Length(1, 1024),
        metadata={"description": "Needed to change the e-mail address. It counts as a login attempt."},
    )


class ChangePasswordSchema(Schema):
    current_password = fields.String(required=True, validate=validate.Length(1, 1024))
    new_password = fields.String(required=True, validate=check_new_password, metadata=PASSWORD_METADATA)


class LogoutSchema(Schema):
    everywhere = fields.Boolean(load_default=False, metadata={"description": "End all sessions, not only this one."})


class SessionSchema(Schema):
    id = fields.String(required=True)
    ip_address = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    last_used_at = fields.AwareDateTime(
        required=True, metadata={"description": "The time of the login or of the latest refresh."}
    )
    expires_at = fields.AwareDateTime(required=True)
    is_current = fields.Boolean(required=True, metadata={"description": "Whether it is the session of this request."})
