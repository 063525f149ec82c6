"""Every resource, each after those that it refers to."""

from app.assets.routes import resource as assets
from app.containers.routes import resource as containers
from app.core.errors import BadRequest
from app.core.security import Actor
from app.datacenters.routes import resource as datacenters
from app.environments.routes import resource as environments
from app.gpus.routes import resource as gpus
from app.resource import Resource
from app.resource.filters import unknown
from app.servers.routes import resource as servers
from app.services.routes import resource as services
from app.tasks.routes import resource as tasks
from app.users.routes import resource as users

CATALOG: dict[str, Resource] = {
    resource.name: resource
    for resource in (users, datacenters, environments, servers, containers, services, gpus, assets, tasks)
}


def readable_types(actor: Actor, names: str | None) -> list[Resource]:
    """The resources of these names, separated by commas, or all that the actor may read; raises BadRequest."""
    readable = {name: item for name, item in CATALOG.items() if actor.role.covers(item.read)}
    if names is None:
        return list(readable.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in readable:
            raise unknown("type", name, readable)
    if not wanted:
        raise BadRequest("types names no resource.", reason="invalid_parameter")
    return [readable[name] for name in dict.fromkeys(wanted)]
