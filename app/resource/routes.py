"""The routes of a resource. A PATCH begins in `change`, a list in `list_page`."""

from dataclasses import replace
from typing import Any

from flask import Response, request
from werkzeug.datastructures import MultiDict

from app.core.cache.backends import cached, local_pages
from app.core.errors import BadParameter
from app.core.http.access import requires
from app.core.http.api import Blueprint
from app.core.http.dry_run import is_dry_run
from app.core.http.envelope import TaggedBody, dumps, json_response, success, success_body
from app.core.http.openapi.operations import camel_case
from app.core.messages import tr
from app.core.request_context import current_request
from app.resource import objects, service
from app.resource.cascade import removal_of, remove
from app.resource.declaration import Resource
from app.resource.expand.expansion import DOCUMENTED, PARAMETER, ReadQuerySchema, expand, read_expansions
from app.resource.query.as_of import read_as_of
from app.resource.query.documentation import document_list
from app.resource.query.list_query import parse_query
from app.resource.query.paths import is_path
from app.resource.query.select import select_page
from app.resource.rows import viewer_of
from app.resource.schema import DeleteQuerySchema, RemovalSchema, Sent, store_query

PAGE_SECONDS = 5
"""How long a page is cached: a change whose invalidation got lost (Redis down, process killed) shows after that."""


def add_write_routes(blueprint: Blueprint, resource: Resource) -> None:
    """Create, change and delete one object."""
    schema, store_query_schema = resource.schema, store_query(resource.model)()
    writes = objects if resource.model.orm_only else service
    one, noun = service.singular(resource), resource.noun

    @blueprint.post("")
    @requires(resource.write)
    @blueprint.arguments(store_query_schema, location="query")
    @blueprint.arguments(schema())
    @blueprint.doc(summary=f"Create one {one}.", operationId=f"create{noun}")
    @blueprint.response(201, schema, headers=["Location"])
    def create(query: dict[str, bool], body: dict[str, Any]) -> Response:
        item = writes.create(resource, body)
        service.refuse_shared(resource, item, query)
        return answer_item(resource, item, 201)

    @blueprint.route("/<int:object_id>", methods=["PUT", "PATCH"])
    @requires(resource.write)
    @blueprint.arguments(store_query_schema, location="query")
    @blueprint.arguments(schema.change()(partial=True))
    @blueprint.parameter("IfMatch")
    @blueprint.stale_response(schema)
    @blueprint.doc(
        summary=f"Change the fields of one {one} that are sent.",
        description="Read-only fields may be sent back as they were read; another value is a 422.",
        operationId=f"update{noun}",
    )
    @blueprint.response(200, schema)
    def change(query: dict[str, bool], body: Sent, object_id: int) -> Response:
        item = writes.change(resource, object_id, body, request.headers.get("If-Match"))
        service.refuse_shared(resource, item, query)
        return answer_item(resource, item)

    @blueprint.delete("/<int:object_id>")
    @requires(resource.write)
    @blueprint.arguments(DeleteQuerySchema, location="query")
    @blueprint.parameter("IfMatch")
    @blueprint.stale_response(schema)
    @blueprint.doc(summary=f"Delete one {one}, with `cascade` all that is under it too.", operationId=f"delete{noun}")
    @blueprint.response(200, RemovalSchema, nullable=True)
    def delete(query: dict[str, bool], object_id: int) -> Response:
        target = objects.get(resource, object_id, to_change=True)
        service.check_version(resource, object_id, target.version, request.headers.get("If-Match"))
        removal = removal_of([target], cascade=query["cascade"])
        remove([target], removal)
        return success(removal.as_dict() if is_dry_run() else None)


def add_read_routes(blueprint: Blueprint, resource: Resource) -> None:
    """List all objects, and read one."""
    schema = resource.schema
    blueprint.shared_parameters["With"] = DOCUMENTED
    shown = {resource.model, *(field.target for field in resource.references.values() if field.target)}

    @cached(*shown, seconds=PAGE_SECONDS, backend=local_pages)
    def page_at(_path: str, _query: bytes, _viewer: int | None) -> TaggedBody:
        page = select_page(resource, parse_query(resource, current_request().args, own=(PARAMETER,)))
        return TaggedBody.of(dumps(success_body(page.items, page.pagination)))

    @blueprint.get("")
    @requires(resource.read)
    @document_list(
        blueprint,
        resource,
        summary=f"List {resource.titles[0]}.",
        operationId=camel_case("list", resource.name),
        more=["With"],
    )
    @blueprint.response(200, schema, many=True)
    def list_page() -> Response | TaggedBody:
        received = current_request()
        arguments = received.args
        if PARAMETER in arguments:
            return expanded_page(resource, arguments)
        if any(map(is_path, arguments)):
            # It depends on more tables than the key of a cached page names.
            page = select_page(resource, parse_query(resource, arguments, own=(PARAMETER,)))
            return json_response(dumps(success_body(page.items, page.pagination)))
        return page_at(resource.path, received.query_string, viewer_of(resource.model))

    @blueprint.get("/<int:object_id>")
    @requires(resource.read)
    @blueprint.arguments(ReadQuerySchema, location="query")
    @blueprint.doc(
        summary=f"Read one {service.singular(resource)}, as it is or as it was.", operationId=f"get{resource.noun}"
    )
    @blueprint.response(200, schema)
    def read(query: dict[str, Any], object_id: int) -> Response:
        if PARAMETER in query:
            return expanded(resource, object_id, **query)
        if "as_of" in query:
            return success(read_as_of(resource, object_id, query["as_of"]))
        return answer_if_changed(resource, object_id)


def expanded(resource: Resource, object_id: int, **query: Any) -> Response:
    """The object with the expansions that the query names; its version does not stand for these, so it is no ETag."""
    if "as_of" in query:
        raise BadParameter(tr("Give either as_of or with."), parameter="with")
    (item,) = expand(resource, [service.read(resource, object_id)], query[PARAMETER])
    return success(item)


def expanded_page(resource: Resource, arguments: MultiDict[str, str]) -> Response:
    """A page of the list with expansions; it is not cached, because it depends on the user and on other tables."""
    names = read_expansions(arguments.getlist(PARAMETER))
    query = parse_query(resource, MultiDict(each for each in arguments.items(multi=True) if each[0] != PARAMETER))
    page = select_page(resource, replace(query, fields=None))
    items = expand(resource, page.items, names)
    if query.fields is not None:
        shown = {*query.fields, *names}
        items = [{name: value for name, value in item.items() if name in shown} for item in items]
    return success(items, pagination=page.pagination)


def answer(resource: Resource, object_id: int, status: int = 200) -> Response:
    """The object as it is now, under its version as ETag."""
    return answer_item(resource, service.read(resource, object_id), status)


def answer_if_changed(resource: Resource, object_id: int) -> Response:
    """The object under its version as ETag, or 304 to a client that has it."""
    tag = service.unchanged_tag(resource, object_id, request.if_none_match)
    return answer(resource, object_id) if tag is None else Response(status=304, headers={"ETag": tag})


def answer_item(resource: Resource, item: dict[str, Any], status: int = 200) -> Response:
    """An object that has just been read, under its version as ETag."""
    headers = {"ETag": f'"{item["version"]}"'} if "version" in item else {}
    if status == 201:
        headers["Location"] = f"{resource.path}/{item['id']}"
    return success(item, status, headers=headers)
