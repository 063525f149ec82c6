"""Every resource, each after those that it refers to: a line here is all that the rest needs to know of a folder."""

from importlib import import_module

from app.core.errors import BadRequest
from app.core.http.access import Actor
from app.core.http.api import Blueprint
from app.resource import Resource
from app.resource.query.filters import unknown

FOLDERS = (
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
"""Below `app`; each has `routes` with the `resource` and its `blueprint`."""


_ROUTES = [import_module(f"app.{folder}.routes") for folder in FOLDERS]

CATALOG: dict[str, Resource] = {routes.resource.name: routes.resource for routes in _ROUTES}
BLUEPRINTS: list[Blueprint] = [routes.blueprint for routes in _ROUTES]
IMPORTABLE = {name: resource for name, resource in CATALOG.items() if name != "users"}
"""Resources of imports, templates and the export of everything. Users are invited: a spreadsheet of passwords and
roles must not create administrators."""


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
