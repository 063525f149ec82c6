"""`GET /api/servers/tree`: a page of servers with their children, in a constant number of statements."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from app.containers.routes import resource as containers
from app.core.errors import BadParameter, RepeatedParameter, UnknownParameter
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, Pagination
from app.core.http.openapi.operations import query_parameter
from app.core.messages import tr
from app.gpus.routes import resource as gpus
from app.resource import (
    ListQuery,
    Resource,
    children_at,
    document_list,
    ids_at,
    objects_at,
    parse_query,
    read_time,
    select_children,
    select_page,
)
from app.servers.routes import resource as servers
from app.services.routes import resource as services
from app.topology.schemas import ServerNodeSchema

blueprint = Blueprint("topology", __name__, url_prefix="/api/servers", description="Servers with their children")

LEVELS = ("1", "2", "3")
LEVEL = query_parameter(
    "level",
    {"type": "integer", "enum": [1, 2, 3]},
    "1: servers; 2: with their containers and GPUs; 3: with services too. Default: `1`.",
)

AS_OF = query_parameter(
    "as_of",
    {"type": "string", "format": "date-time"},
    "The tree as it was at this time, in the order of the ids. Only id, page, page_size and total may "
    "be given with it.",
)
AS_OF_PARAMETERS = ("id", "page", "page_size", "total")

Node = dict[str, Any]


@blueprint.get("/tree")
@requires(Role.USER)
@document_list(
    blueprint,
    servers,
    without=["fields"],
    more=[LEVEL, AS_OF],
    summary="Servers with their containers, GPUs and services.",
)
@blueprint.response(200, ServerNodeSchema, many=True)
def get_server_tree() -> Page:
    """List servers with the filters and paging of their list, each with its children."""
    arguments: MultiDict[str, str] = MultiDict(request.args)
    levels = arguments.poplist("level") or ["1"]
    if len(levels) > 1 or levels[0] not in LEVELS:
        raise BadParameter(
            tr("{parameter} must be one of {choices}.", parameter="level", rule="choice", choices="1, 2, 3"),
            parameter="level",
        )
    if "fields" in arguments:
        raise UnknownParameter(tr("A tree always has all fields."), parameter="fields", did_you_mean=[])
    at = _pop_as_of(arguments)
    query = parse_query(servers, arguments, own=("level", "as_of"))
    page = select_page(servers, query) if at is None else _select_page_as_of(query, arguments, at)
    if levels[0] != "1":
        _add_children(page.items, at, with_services=levels[0] == "3")
    return page


def _pop_as_of(arguments: MultiDict[str, str]) -> datetime | None:
    """Take `as_of` out of the arguments; raises BadRequest."""
    texts = arguments.poplist("as_of")
    if len(texts) > 1:
        raise RepeatedParameter(tr("{name} may be given only once.", name="as_of"), parameter="as_of")
    return read_time(texts[0]) if texts else None


def _select_page_as_of(query: ListQuery, arguments: MultiDict[str, str], at: datetime) -> Page:
    """A page of the servers that existed at that time, in the order of their ids; raises BadRequest."""
    for name in arguments:
        if name not in AS_OF_PARAMETERS:
            raise UnknownParameter(
                tr("With as_of, a tree has no {name}.", name=name[:100]), parameter=name, did_you_mean=[]
            )
    requested = query.values.get("p0", []) if query.matching.filters else None
    ids = ids_at(servers, at, [requested] if isinstance(requested, int) else requested)
    begin = (query.page - 1) * query.page_size
    total = len(ids) if query.counted else None
    items = objects_at(servers, ids[begin : begin + query.page_size], at)
    return Page(items, Pagination(query.page, query.page_size, total))


def _add_children(nodes: list[Node], at: datetime | None, *, with_services: bool) -> None:
    ids = [node["id"] for node in nodes]
    below_server = [
        (containers, "server_id"),
        (gpus, "server_id"),
        *([(services, "server_id")] if with_services else []),
    ]
    containers_of, gpus_of, *services_of = _select_children([(*each, ids) for each in below_server], at)
    for node in nodes:
        node["containers"] = containers_of[node["id"]]
        node["gpus"] = gpus_of[node["id"]]
    if with_services:
        container_nodes = [container for children in containers_of.values() for container in children]
        container_ids = [container["id"] for container in container_nodes]
        (in_container,) = _select_children([(services, "container_id", container_ids)], at)
        for container in container_nodes:
            container["services"] = in_container[container["id"]]
        for node in nodes:
            node["services"] = services_of[0][node["id"]]


def _select_children(
    parents: Sequence[tuple[Resource, str, list[int]]], at: datetime | None
) -> list[dict[int, list[Node]]]:
    """For each resource, the children of these parents, now or at a time, in the order in which they were created."""
    every = select_children(parents) if at is None else [children_at(*children, at) for children in parents]
    groups: list[dict[int, list[Node]]] = [defaultdict(list) for _ in parents]
    for children, (_, field, _), of_parent in zip(every, parents, groups, strict=True):
        for child in children:
            of_parent[child[field]].append(child)
    return groups
