"""Schema of containers."""

from app.containers.models import Container
from app.resource import ResourceSchema


class ContainerSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Container
