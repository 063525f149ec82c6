"""Every resource, each after those that it refers to."""

from app.assets.routes import resource as assets
from app.containers.routes import resource as containers
from app.datacenters.routes import resource as datacenters
from app.environments.routes import resource as environments
from app.gpus.routes import resource as gpus
from app.resource import Resource
from app.servers.routes import resource as servers
from app.services.routes import resource as services
from app.tasks.routes import resource as tasks
from app.users.routes import resource as users

CATALOG: dict[str, Resource] = {
    resource.name: resource
    for resource in (users, datacenters, environments, servers, containers, services, gpus, assets, tasks)
}
