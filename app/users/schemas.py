"""Schema of users. A password is write-only."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema

from app.resource import ResourceSchema
from app.users.models import User
from app.users.passwords import PASSWORD_METADATA, hash_password, password_errors


class UserSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = User

    password = fields.String(load_only=True, required=True, metadata=PASSWORD_METADATA)

    @validates_schema(skip_on_field_errors=False)
    def check_password(self, values: dict[str, Any], **_: Any) -> None:
        """Compare it with the username; also where other fields are invalid, so that all errors come at once."""
        if "password" not in values:
            return
        if errors := password_errors(values["password"], values.get("username")):
            raise ValidationError({"password": errors})

    @post_load
    def hash_new_password(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Hash it as soon as the body is valid: no transaction has begun yet, also in bulk."""
        if "password" in values:
            values["password"] = hash_password(values["password"])
        return values
