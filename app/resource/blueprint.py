"""The blueprint of a declared resource: its routes, to which hand-written ones are added."""

from app.core.http.api import Blueprint
from app.resource.bulk.routes import add_bulk_routes
from app.resource.declaration import Resource
from app.resource.query.facets import add_facets_route
from app.resource.routes import add_read_routes, add_write_routes


def resource_blueprint(resource: Resource) -> Blueprint:
    """List, read, create, change and delete, one object or many. What is special is a view added to it by hand."""
    blueprint = readable_blueprint(resource)
    add_write_routes(blueprint, resource)
    add_bulk_routes(blueprint, resource)
    return blueprint


def readable_blueprint(resource: Resource) -> Blueprint:
    """A blueprint with list and read only, for objects that other code writes."""
    name = resource.path.removeprefix("/api/")
    blueprint = Blueprint(name, __name__, url_prefix=resource.path, description=resource.titles[0])
    blueprint.titles = resource.titles
    add_read_routes(blueprint, resource)
    add_facets_route(blueprint, resource)
    return blueprint
