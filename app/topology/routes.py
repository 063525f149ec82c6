"""The tree: a page of servers with what stands and runs on them, in a constant number of statements."""

from collections import defaultdict
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from app.containers.routes import resource as containers
from app.core.api import Blueprint
from app.core.database import any_of
from app.core.envelope import Page
from app.core.errors import BadRequest
from app.core.security import Role, requires
from app.gpus.routes import resource as gpus
from app.resource import Resource
from app.resource.documentation import list_parameters
from app.resource.query import parse_query, select_page, select_where
from app.servers.routes import resource as servers
from app.services.routes import resource as services
from app.topology.schemas import ServerNodeSchema

blueprint = Blueprint("topology", __name__, url_prefix="/api/servers", description="What stands where")

LEVELS = ("1", "2", "3")
LEVEL = {
    "in": "query",
    "name": "level",
    "schema": {"type": "integer", "enum": [1, 2, 3], "default": 1},
    "description": "1: servers; 2: with their containers and GPUs; 3: with services too.",
}

Node = dict[str, Any]


@blueprint.get("/tree")
@requires(Role.USER)
@blueprint.doc(
    parameters=[LEVEL, *(item for item in list_parameters(servers) if item["name"] != "fields")],
    summary="Servers with what stands and runs on them.",
)
@blueprint.response(200, ServerNodeSchema, many=True)
def tree() -> Page:
    """List servers as their list does, each with its children."""
    arguments: MultiDict[str, str] = MultiDict(request.args)
    levels = arguments.poplist("level") or ["1"]
    if len(levels) > 1 or levels[0] not in LEVELS:
        raise BadRequest("level must be 1, 2 or 3.", reason="invalid_parameter")
    if "fields" in arguments:
        raise BadRequest("A tree always has all fields.", reason="unknown_parameter", did_you_mean=[])
    page = select_page(servers, parse_query(servers, arguments))
    if levels[0] != "1":
        _add_children(page.items, with_services=levels[0] == "3")
    return page


def _add_children(nodes: list[Node], *, with_services: bool) -> None:
    ids = [node["id"] for node in nodes]
    on_server = _grouped(containers, "server_id", ids)
    in_server = _grouped(gpus, "server_id", ids)
    for node in nodes:
        node["containers"] = on_server[node["id"]]
        node["gpus"] = in_server[node["id"]]
    if with_services:
        placed = [container for found in on_server.values() for container in found]
        in_container = _grouped(services, "container_id", [container["id"] for container in placed])
        direct = _grouped(services, "server_id", ids)
        for container in placed:
            container["services"] = in_container[container["id"]]
        for node in nodes:
            node["services"] = direct[node["id"]]


def _grouped(resource: Resource, parent: str, ids: list[int]) -> dict[int, list[Node]]:
    """The objects under each of these parents, in the order in which they were created."""
    groups: dict[int, list[Node]] = defaultdict(list)
    for item in select_where(resource, any_of(resource.fields[parent].column, ids)):
        groups[item[parent]].append(item)
    return groups
