"""The tree of servers as JSON."""

from marshmallow import fields

from app.containers.schemas import ContainerSchema
from app.gpus.schemas import GpuSchema
from app.servers.schemas import ServerSchema
from app.services.schemas import ServiceSchema


class ContainerNodeSchema(ContainerSchema):
    services = fields.List(fields.Nested(ServiceSchema.answer()), metadata={"description": "At level 3."})


class ServerNodeSchema(ServerSchema):
    containers = fields.List(fields.Nested(ContainerNodeSchema.answer()), metadata={"description": "From level 2."})
    gpus = fields.List(fields.Nested(GpuSchema.answer()), metadata={"description": "From level 2."})
    services = fields.List(
        fields.Nested(ServiceSchema.answer()), metadata={"description": "At level 3: those directly on the server."}
    )
