"""Users as JSON. A password is written, never read."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from app.resource import ResourceSchema
from app.users.models import User
from app.users.passwords import password_flaws


class UserSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = User

    password = fields.String(load_only=True, required=True)

    @validates_schema
    def check_password(self, values: dict[str, Any], **_: Any) -> None:
        if "password" not in values:
            return
        flaws = password_flaws(values["password"], values.get("username"))
        if flaws:
            raise ValidationError({"password": flaws})
