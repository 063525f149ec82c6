"""Schema of users. A password is write-only."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from app.resource import ResourceSchema
from app.users.models import User
from app.users.passwords import password_errors


class UserSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = User

    password = fields.String(load_only=True, required=True)

    @validates_schema
    def check_password(self, values: dict[str, Any], **_: Any) -> None:
        if "password" not in values:
            return
        if errors := password_errors(values["password"], values.get("username")):
            raise ValidationError({"password": errors})
