"""The OpenAPI document: valid, complete, and the same on disk, over HTTP and in the application.

That it is true is tried by the client of all tests, which holds every answer to it.
"""

import gzip
import re
from collections import Counter
from typing import Any

import orjson
import pytest
from flask import Flask
from jsonschema_rs import meta
from openapi_spec_validator import OpenAPIV31SpecValidator

import config
from app.audit_logs.query import CHANGE_PARAMETERS
from app.audit_logs.routes import resource as audit_logs
from app.core.http.access import access_of
from app.core.http.openapi.viewers import as_lines
from app.resource import Resource
from tests.backends import on_sqlite
from tests.contract.resources import RESOURCES, each_readable, each_resource, readable
from tests.contract.test_filters import operators_of
from tests.openapi import Document, Operation, template_of

MAX_BYTES = 943_718  # 0.9 MiB

# The document is the same whatever the database.
pytestmark = on_sqlite


def routes(app: Flask) -> dict[Operation, str]:
    """The endpoint of every operation that is routed."""
    return {
        Operation(template_of(rule.rule), method.lower()): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_document_is_valid(document: Document) -> None:
    assert document.spec["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document.spec).iter_errors()] == []


def test_every_schema_is_one(document: Document) -> None:
    for schema in document.spec["components"]["schemas"].values():
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_component_is_used(document: Document) -> None:
    text = orjson.dumps(document.spec).decode()
    for kind, components in document.spec["components"].items():
        if kind != "securitySchemes":
            assert [name for name in components if f'"#/components/{kind}/{name}"' not in text] == [], kind


def test_a_post_says_whether_its_answer_is_a_stored_one(document: Document) -> None:
    for operation, described in document.operations.items():
        for status, response in described["responses"].items():
            says_so = "Idempotency-Replayed" in document.resolve(response).get("headers", {})
            # Failures are shared by all methods.
            assert says_so is (operation.method == "post") or (says_so and status >= "400"), (operation, status)


def test_every_answer_has_the_headers_of_all(document: Document) -> None:
    everywhere = {"X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
    lacking = {
        (operation, status): everywhere - set(document.resolve(response).get("headers", ()))
        for operation, described in document.operations.items()
        for status, response in described["responses"].items()
    }
    assert {key for key, names in lacking.items() if names} == set()


def test_the_file_is_what_the_application_serves(app: Flask, document: Document) -> None:
    """`flask openapi` writes it anew."""
    assert orjson.loads((config.ROOT / "openapi.json").read_bytes()) == document.spec
    served = app.test_client().get("/api/openapi.json")
    assert served.mimetype == "application/json"
    assert served.json == document.spec


def test_the_document_is_sent_compressed_and_only_when_it_has_changed(app: Flask, document: Document) -> None:
    client = app.test_client()
    plain = client.get("/api/openapi.json")
    packed = client.get("/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    again = client.get("/api/openapi.json", headers={"If-None-Match": packed.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_form_of_swagger_ui_begins_with_no_condition(document: Document) -> None:
    """It fills in the example of an object, and without one a value for every member."""
    objects = [each for each in document.spec["components"]["parameters"].values() if each.get("explode")]
    assert len(objects) > 2
    assert all(each["example"] == {} and "example" not in each["schema"] for each in objects)


def test_every_operation_says_who_may_call_it(document: Document) -> None:
    for operation, described in document.operations.items():
        assert re.search(r"(administrators|signed in|no token|refresh token)\.$", described["description"]), operation


def test_every_route_is_documented_and_nothing_else(app: Flask, document: Document) -> None:
    # The document describes neither itself nor what shows it, nor what is not for clients.
    others = {"openapi", "docs", "docs_file", "redoc", "redoc_file", "metrics"}
    others |= {"console", "console_page", "console_asset"}
    routed = {operation for operation, endpoint in routes(app).items() if endpoint not in others}
    assert set(document.operations) == routed


def test_every_route_declares_who_may_call_it(app: Flask, document: Document) -> None:
    for operation, endpoint in routes(app).items():
        access: Any = access_of(app.view_functions[endpoint])
        assert access is not None, operation
        if operation in document.operations:
            security = document.operations[operation].get("security", document.spec["security"])
            assert (security == []) == (access == "public"), operation


def test_operations_have_names_of_their_own(document: Document) -> None:
    names = Counter(operation["operationId"] for operation in document.operations.values())
    assert max(names.values()) == 1
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", name) for name in names)


def test_operations_have_the_names_that_a_person_would_choose(document: Document) -> None:
    names = {operation: described["operationId"] for operation, described in document.operations.items()}
    chosen = {
        ("/api/servers", "get"): "listServers",
        ("/api/servers", "post"): "createServer",
        ("/api/servers/{object_id}", "get"): "getServer",
        ("/api/servers/{object_id}", "patch"): "updateServer",
        ("/api/servers/{object_id}", "put"): "putServer",
        ("/api/servers/bulk", "delete"): "deleteServers",
        ("/api/servers/export", "get"): "exportServers",
        ("/api/gpus/{object_id}/history", "get"): "listGpuHistory",
        ("/api/gpus/{gpu_id}/assign", "post"): "assignGpu",
        ("/api/audit-logs", "get"): "listAuditLogs",
    }
    assert {operation: names[Operation(*operation)] for operation in chosen} == chosen


def test_the_document_is_small_because_it_says_each_thing_once(document: Document) -> None:
    assert len(as_lines(document.spec).encode()) <= MAX_BYTES


def test_enumerations_have_names(document: Document) -> None:
    schemas = document.spec["components"]["schemas"]
    assert schemas["ServerStatus"]["enum"] == ["active", "maintenance", "offline", "retired"]
    for name, member in (("Server", "properties"), ("ServerInput", "properties"), ("ServerFilter", "properties")):
        assert schemas[name][member]["status"]["$ref"] == "#/components/schemas/ServerStatus", name
    described = schemas["Asset"]["properties"]["description_status"]
    assert described["anyOf"] == [{"$ref": "#/components/schemas/DescriptionStatus"}, {"type": "null"}]


@each_resource
def test_a_body_has_no_field_that_is_only_read(resource: Resource, document: Document) -> None:
    schemas = document.spec["components"]["schemas"]
    for suffix in ("Input", "Patch", "ItemPatch"):
        members = schemas[resource.noun + suffix]["properties"]
        assert {"created_at", "updated_at", "version"}.isdisjoint(members)
        assert not any(member.get("readOnly") for member in members.values())


def test_operations_say_what_they_do(document: Document) -> None:
    for operation, described in document.operations.items():
        assert described["summary"].endswith("."), operation
        assert described["tags"], operation


@pytest.mark.parametrize("status", ["400", "503"])
def test_every_operation_may_fail(document: Document, status: str) -> None:
    for operation, described in document.operations.items():
        assert status in described["responses"], operation


def test_failures_have_one_shape(document: Document) -> None:
    for operation, described in document.operations.items():
        for status, response in described["responses"].items():
            if status >= "400":
                resolved = document.spec["components"]["responses"].get(response.get("$ref", "").split("/")[-1])
                schema = (resolved or response)["content"]["application/json"]["schema"]
                if status == "412" and "Stale" in schema["$ref"]:
                    # It has the object as it is now, with its type.
                    members = document.resolve(schema)["properties"]
                    assert set(members) == {"code", "message", "data"}
                else:
                    assert schema == {"$ref": "#/components/schemas/Failure"}, (operation, status)


@each_readable
def test_the_parameters_of_a_list_are_documented(resource: Resource, document: Document) -> None:
    documented = document.query_parameters(Operation(resource.path, "get"))
    filters = {
        f"{name}__{operator}" if operator else name
        for name, field in readable(resource).items()
        for operator in operators_of(name, field)
    }
    own = set(CHANGE_PARAMETERS) if resource is audit_logs else {"with"}
    assert documented == own | filters | {"page", "page_size", "cursor", "sort", "q", "fields", "total", "lang"}


@each_readable
def test_the_fields_of_an_object_are_documented(resource: Resource, document: Document) -> None:
    response = document.operations[Operation(f"{resource.path}/{{object_id}}", "get")]["responses"]["200"]
    envelope = document.resolve(response["content"]["application/json"]["schema"])
    item = document.resolve(envelope["properties"]["data"])
    on_request = set() if resource is audit_logs else {"can", "children"}
    assert set(item["required"]) == set(readable(resource))
    assert set(item["properties"]) == {*item["required"], *on_request}
    assert item["additionalProperties"] is False


@each_readable
def test_the_items_of_a_list_are_objects_as_they_are_read(resource: Resource, document: Document) -> None:
    """So that a generated client has one type of an object; who asks for some `fields` only knows that he did."""
    response = document.operations[Operation(resource.path, "get")]["responses"]["200"]
    page = document.resolve(response["content"]["application/json"]["schema"])
    assert page["properties"]["data"]["items"] == {"$ref": f"#/components/schemas/{resource.noun}"}


def test_the_client_sees_an_answer_that_is_not_as_documented(document: Document) -> None:
    """The tests' own eyes: a field too many, one too few, a wrong type, a status that nobody documented."""
    operation = Operation("/api/health", "get")
    good = {"code": 0, "message": "success", "data": {"status": "ok"}}
    document.check_answer(operation, 200, "application/json", good)
    bad: list[tuple[int, Any]] = [
        (200, {**good, "more": 1}),
        (200, {**good, "data": {}}),
        (200, {**good, "data": {"status": "unwell"}}),
        (200, {**good, "data": {"status": "ok", "secret": 1}}),
        (200, {**good, "code": "0"}),
        (202, good),
    ]
    for status, body in bad:
        with pytest.raises(AssertionError):
            document.check_answer(operation, status, "application/json", body)


def test_names_are_in_snake_case_and_enumerations_in_lower_case(document: Document) -> None:
    schemas = document.spec["components"]["schemas"]
    names = {name for schema in schemas.values() for name in schema.get("properties", ())}
    names |= {name for operation in document.operations for name in document.query_parameters(operation)}
    # Of a filter the operator follows, or a path through references.
    words = {word for name in names for word in re.split(r"__|\.", name)}
    assert not {word for word in words if not re.fullmatch(r"[a-z][a-z0-9_]*", word)}
    choices = {each.value for one in RESOURCES for field in one.fields.values() for each in field.choices or ()}
    assert not {value for value in choices if value != value.lower()}


def test_a_write_that_succeeds_says_what_has_become_of_it(document: Document) -> None:
    """201 for something new, 202 for what is only queued, 200 for all else."""
    for operation, content in document.operations.items():
        statuses = {status for status in content["responses"] if status < "300"}
        possible = {"get": {"200", "202"}, "post": {"200", "201", "202"}}.get(operation.method, {"200", "202"})
        assert statuses
        assert statuses <= possible, operation
