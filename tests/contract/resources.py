"""The resources that the contract is tried on, and rows of them that differ from each other."""

from typing import Any

import pytest

from app.audit_logs.declaration import resource as audit_logs
from app.catalog import CATALOG
from app.resource import Private, Resource
from app.resource.fields import Field, Kind
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make

RESOURCES = tuple(CATALOG.values())
READABLE = (*RESOURCES, audit_logs)

each_resource = pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
each_public = pytest.mark.parametrize(
    "resource", [each for each in RESOURCES if not issubclass(each.model, Private)], ids=lambda each: each.name
)
each_private = pytest.mark.parametrize(
    "resource", [each for each in RESOURCES if issubclass(each.model, Private)], ids=lambda each: each.name
)
each_readable = pytest.mark.parametrize("resource", READABLE, ids=lambda resource: resource.name)


def varied_rows(resource: Resource, count: int, make: Make, admin: Client) -> list[Body]:
    """All rows of a resource, as the API shows them, after some that differ have been added."""
    if resource is audit_logs:
        _leave_records(count, make, admin)
    else:
        for k in range(count):
            make.varied(resource.model, k)
    return all_rows(resource, admin)


def all_rows(resource: Resource, admin: Client) -> list[Body]:
    body = admin.call("GET", resource.path, query_string={"page_size": 100, "sort": "id"})
    rows: list[Body] = body["data"]
    assert len(rows) == body["pagination"]["total"]
    return rows


def readable(resource: Resource) -> dict[str, Field]:
    """Every name under which a field can be read and filtered: references by their id and by their name."""
    return {**resource.fields, **resource.references}


def is_by_name(name: str, field: Field) -> bool:
    """Whether a field is meant by the name of the object that it refers to."""
    return field.target is not None and name == field.reads_as


def kind_of(name: str, field: Field) -> Kind:
    return Kind.TEXT if is_by_name(name, field) else field.kind


def value_in(row: Body, name: str, field: Field) -> Any:
    """What a row has there, as JSON; of an object that it refers to, the name."""
    value = row[name]
    return value["name"] if is_by_name(name, field) and value is not None else value


def _leave_records(count: int, make: Make, admin: Client) -> None:
    """Fill the audit log: changes and refusals, by people and by the system, with and without a reason."""
    for k in range(-(-count // 4)):
        server = make(Server)
        reason = {"X-Audit-Reason": f"Ticket {k}"}
        admin.call("PATCH", f"/api/servers/{server.id}", json={"rack": f"R{k}"}, headers=reason)
        admin.call("DELETE", f"/api/servers/{server.id}")
        wrong = {"username": f"nobody-{k}", "password": "wrong"}
        Client(admin.app, admin.document).call("POST", "/api/auth/login", json=wrong, expect=401)
