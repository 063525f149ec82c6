"""The servers resource."""

from app.resource import Resource, resource_blueprint
from app.servers.models import Server
from app.servers.schemas import ServerSchema

resource = Resource(
    model=Server,
    schema=ServerSchema,
    titles=("Servers", "服务器", "物理服务器", "主机", "Hosts", "Devices"),
    search=(
        Server.name,
        Server.hostname,
        Server.internal_ip,
        Server.serial_number,
        Server.asset_tag,
        Server.model,
        Server.owner,
    ),
    natural_key=(("asset_tag",), ("datacenter_id", "name")),
    recognised_by=("serial_number",),
)
blueprint = resource_blueprint(resource)
