"""Service as JSON."""

from app.resource import ResourceSchema
from app.services.models import Service


class ServiceSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Service
