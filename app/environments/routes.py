"""The environments resource."""

from app.core.http.access import Role
from app.environments.models import Environment
from app.environments.schemas import EnvironmentSchema
from app.resource import Resource, resource_blueprint

resource = Resource(
    model=Environment,
    schema=EnvironmentSchema,
    titles=("Environments", "环境"),
    search=(
        Environment.name,
        Environment.description,
    ),
    natural_key=(("name",),),
    write=Role.ADMIN,
)
blueprint = resource_blueprint(resource)
