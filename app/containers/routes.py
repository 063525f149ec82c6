"""The containers resource."""

from app.containers.models import Container
from app.containers.schemas import ContainerSchema
from app.resource import Resource, resource_blueprint

resource = Resource(
    model=Container,
    schema=ContainerSchema,
    titles=("Containers", "容器", "Pods"),
    search=(
        Container.name,
        Container.image,
    ),
    natural_key=(("server_id", "name"),),
)
blueprint = resource_blueprint(resource)
