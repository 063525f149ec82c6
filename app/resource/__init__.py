"""The resource kernel: declare a resource once, derive its routes, queries, documents and sheets."""

from app.resource.declaration import Resource
from app.resource.fields import Extensible, column, reference
from app.resource.routes import readable_blueprint, resource_blueprint
from app.resource.schema import ResourceSchema
from app.resource.visibility import Private

__all__ = [
    "Extensible",
    "Private",
    "Resource",
    "ResourceSchema",
    "column",
    "readable_blueprint",
    "reference",
    "resource_blueprint",
]
