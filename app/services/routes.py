"""The services resource."""

from app.resource import Resource, resource_blueprint
from app.services.models import Service
from app.services.schemas import ServiceSchema

resource = Resource(
    name="services",
    model=Service,
    schema=ServiceSchema,
    titles=("Services", "服务"),
    search=(
        Service.name,
        Service.health_check,
    ),
    natural_key=(("container_id", "server_id", "name"),),
)
blueprint = resource_blueprint(resource)
