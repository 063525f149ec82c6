"""Schema of users. A password is write-only."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from app.resource import ResourceSchema
from app.users.models import User
from app.users.passwords import PASSWORD_METADATA, password_errors


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
