"""Schema of servers."""

from app.resource import ResourceSchema
from app.servers.models import Server


class ServerSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Server
