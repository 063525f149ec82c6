"""The tree: a page of servers with what stands and runs on them, in a constant number of statements."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from app.containers.routes import resource as containers
from app.core.db.statements import any_of
from app.core.errors import BadRequest
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, Pagination
from app.gpus.routes import resource as gpus
from app.resource import Resource
from app.resource.query.as_of import children_at, ids_at, objects_at, read_time
from app.resource.query.documentation import list_parameters
from app.resource.query.list_query import ListQuery, parse_query, select_page, select_where
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

AS_OF = {
    "in": "query",
    "name": "as_of",
    "schema": {"type": "string", "format": "date-time"},
    "description": "The tree as it was then, in the order of the ids; beside it there are only id, page and page_size.",
}
OF_THEN = ("id", "page", "page_size", "total")

Node = dict[str, Any]


@blueprint.get("/tree")
@requires(Role.USER)
@blueprint.doc(
    parameters=[LEVEL, AS_OF, *(item for item in list_parameters(servers) if item["name"] != "fields")],
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
    at = _read_time(arguments)
    query = parse_query(servers, arguments)
    page = select_page(servers, query) if at is None else _page_of_then(query, arguments, at)
    if levels[0] != "1":
        _add_children(page.items, at, with_services=levels[0] == "3")
    return page


def _read_time(arguments: MultiDict[str, str]) -> datetime | None:
    """The time that is asked for, which is taken out of the arguments; raises BadRequest."""
    texts = arguments.poplist("as_of")
    if len(texts) > 1:
        raise BadRequest("as_of may be given only once.", reason="repeated_parameter")
    return read_time(texts[0]) if texts else None


def _page_of_then(query: ListQuery, arguments: MultiDict[str, str], at: datetime) -> Page:
    """A page of the servers that were there at that time, in the order of their ids; raises BadRequest."""
    for name in arguments:
        if name not in OF_THEN:
            raise BadRequest(f"With as_of, a tree has no {name[:100]}.", reason="unknown_parameter", did_you_mean=[])
    among = query.values.get("p0", []) if query.matching.filters else None
    ids = ids_at(servers, at, [among] if isinstance(among, int) else among)
    begin = (query.page - 1) * query.page_size
    total = len(ids) if query.counted else None
    items = objects_at(servers, ids[begin : begin + query.page_size], at)
    return Page(items, Pagination(query.page, query.page_size, total))


def _add_children(nodes: list[Node], at: datetime | None, *, with_services: bool) -> None:
    ids = [node["id"] for node in nodes]
    on_server = _grouped(containers, "server_id", ids, at)
    in_server = _grouped(gpus, "server_id", ids, at)
    for node in nodes:
        node["containers"] = on_server[node["id"]]
        node["gpus"] = in_server[node["id"]]
    if with_services:
        placed = [container for found in on_server.values() for container in found]
        in_container = _grouped(services, "container_id", [container["id"] for container in placed], at)
        direct = _grouped(services, "server_id", ids, at)
        for container in placed:
            container["services"] = in_container[container["id"]]
        for node in nodes:
            node["services"] = direct[node["id"]]


def _grouped(resource: Resource, parent: str, ids: list[int], at: datetime | None) -> dict[int, list[Node]]:
    """The objects under each of these parents, now or at a time, in the order in which they were created."""
    groups: dict[int, list[Node]] = defaultdict(list)
    if at is None:
        found = select_where(resource, any_of(resource.fields[parent].column, ids))
    else:
        found = children_at(resource, parent, ids, at)
    for item in found:
        groups[item[parent]].append(item)
    return groups
