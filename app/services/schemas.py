"""Schemas of services and health checks."""

from app.resource import ResourceSchema
from app.services.models import Service, ServiceCheck


class ServiceSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Service


class ServiceCheckSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = ServiceCheck
