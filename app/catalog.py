"""The catalog of all resources; a new one needs a line here, after the resources that it refers to."""

from importlib import import_module

from app.core.errors import BadParameter
from app.core.http.access import Actor
from app.core.http.api import Blueprint
from app.core.messages import tr
from app.resource import Resource, unknown

PACKAGES = (
    "users",
    "datacenters",
    "environments",
    "servers",
    "containers",
    "services",
    "gpus",
    "assets",
    "tasks",
)
"""The packages below `app` whose module `routes` has a `resource` and its `blueprint`."""

_ROUTES = [import_module(f"app.{package}.routes") for package in PACKAGES]

CATALOG: dict[str, Resource] = {routes.resource.name: routes.resource for routes in _ROUTES}
BLUEPRINTS: list[Blueprint] = [routes.blueprint for routes in _ROUTES]
IMPORTABLE = {name: resource for name, resource in CATALOG.items() if name != "users"}
"""Resources of imports, templates and the export of everything. Users are invited: a spreadsheet of passwords and
roles must not create administrators."""


def readable_types(actor: Actor, names: str | None, parameter: str = "types") -> list[Resource]:
    """The resources that a comma-separated parameter names, or all that the actor may read; raises BadRequest.

    A resource that the actor may not read is treated as unknown.
    """
    readable = {name: resource for name, resource in CATALOG.items() if actor.role.covers(resource.read)}
    if names is None:
        return list(readable.values())
    requested = [name.strip() for name in names.split(",") if name.strip()]
    for name in requested:
        if name not in readable:
            raise unknown("type", name, readable, parameter=parameter)
    if not requested:
        raise BadParameter(
            tr("`{parameter}` names no resource. Omit it for all of them.", parameter=parameter), parameter=parameter
        )
    return [readable[name] for name in dict.fromkeys(requested)]
