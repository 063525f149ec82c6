"""The datacenters resource."""

from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.datacenters.schemas import DatacenterSchema
from app.resource import Resource, resource_blueprint

resource = Resource(
    model=Datacenter,
    schema=DatacenterSchema,
    titles=("Datacenters", "数据中心", "机房", "Sites"),
    search=(
        Datacenter.name,
        Datacenter.code,
        Datacenter.location,
    ),
    natural_key=(("name",),),
    write=Role.ADMIN,
)
blueprint = resource_blueprint(resource)
