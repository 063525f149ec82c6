"""Schema of environments."""

from app.environments.models import Environment
from app.resource import ResourceSchema


class EnvironmentSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Environment
