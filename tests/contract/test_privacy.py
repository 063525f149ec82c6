"""Private objects: to everybody but their creator and administrators they are not there, however they are asked for."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import openpyxl
import orjson
import pytest

from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.resource import Private, Resource
from app.resource.fields import Kind
from tests.client import Body, Client
from tests.conftest import SignIn, Statements
from tests.contract.resources import RESOURCES, each_private
from tests.contract.test_bulk import free_text
from tests.factories import Make
from tests.features.conftest import workbook

NAME = "a quite unlikely secret"


@pytest.fixture
def secret(make: Make, user: Client) -> Callable[..., Any]:
    """Make an object of the first user whose name is known to nobody else."""

    def make_secret(resource: Resource, **values: Any) -> Any:
        label = {resource.model.label: NAME}
        return make(resource.model, full=not values, created_by_id=user.user.id, **{**label, **values})

    return make_secret


def total(client: Client, resource: Resource, **query: Any) -> int:
    body = client.call("GET", resource.path, query_string=query)
    count: int = body["pagination"]["total"]
    assert count == len(body["data"])
    return count


@each_private
def test_nothing_public_refers_to_it(resource: Resource) -> None:
    """An answer would show its name."""
    for other in RESOURCES:
        assert not [field for field in other.fields.values() if field.target is resource.model], other.name


@each_private
def test_a_list_has_ones_own_only(
    resource: Resource, secret: Callable[..., Any], user: Client, other: Client, admin: Client
) -> None:
    target = secret(resource)
    narrow = ({}, {"q": "unlikely"}, {"id": target.id}, {"created_by_id": user.user.id}, {"sort": "-created_at"})
    for query in narrow:
        # In this order and again: what is counted for one is not remembered for another.
        for client, expected in ((other, 0), (user, 1), (admin, 1), (other, 0), (user, 1)):
            assert total(client, resource, **query) == expected, query
    walked = other.call("GET", resource.path, query_string={"cursor": ""})
    assert (walked["data"], walked["pagination"]["total"]) == ([], 0)


@each_private
def test_it_is_a_404_to_others(
    resource: Resource, secret: Callable[..., Any], user: Client, other: Client, admin: Client
) -> None:
    path = f"{resource.path}/{secret(resource).id}"
    nowhere = f"{resource.path}/{2**40}"
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        options = {"json": {}} if method in ("PUT", "PATCH") else {}
        hidden = other.call(method, path, expect=404, headers={"If-Match": '"7"'}, **options)
        absent = other.call(method, nowhere, expect=404, headers={"If-Match": '"7"'}, **options)
        parameters = hidden["data"]["parameters"], absent["data"]["parameters"]
        assert [each.pop("object_id") for each in parameters] == [int(path.rpartition("/")[2]), 2**40]
        assert hidden["data"] == absent["data"]
    for client in (user, admin):
        assert client.call("GET", path)["data"][resource.model.label] == NAME
    # What is not there cannot be denied.
    assert admin.call("GET", "/api/audit-logs?action=denied")["pagination"]["total"] == 0


@each_private
def test_it_is_not_searched(
    resource: Resource, secret: Callable[..., Any], user: Client, other: Client, admin: Client
) -> None:
    secret(resource)
    for text in ("unlikely secret", NAME.upper(), "unlikley secret"):
        for client, expected in ((other, 0), (user, 1), (admin, 1), (other, 0)):
            results = client.call("GET", "/api/search", query_string={"q": text})["data"]
            assert [hit["title"] for hit in results["hits"]] == [NAME] * expected, text
            assert results["counts"][resource.name] <= expected


@each_private
def test_it_is_not_exported(
    resource: Resource, secret: Callable[..., Any], user: Client, other: Client, admin: Client
) -> None:
    secret(resource)
    for client, expected in ((other, 0), (user, 1), (admin, 1)):
        rows = orjson.loads(client.send("GET", f"{resource.path}/export?format=json").data)["data"]
        assert len(rows) == expected
        assert (NAME.encode() in client.send("GET", f"{resource.path}/export?format=csv").data) == bool(expected)
        book = openpyxl.load_workbook(BytesIO(client.send("GET", "/api/export.xlsx").data), read_only=True)
        titles = [cell for row in book[resource.titles[0]].values for cell in row]
        assert (NAME in titles) == bool(expected)


def imported(client: Client, resource: Resource, *rows: tuple[Any, ...]) -> Body:
    """What became of each row of a sheet."""
    content = workbook(**{resource.titles[0]: rows})
    created = client.call("POST", "/api/imports", data={"file": (BytesIO(content), "x.xlsx")}, expect=202)["data"]
    runner_of(client.app).run_pending()
    body: Body = client.call("GET", f"/api/imports/{created['id']}/rows")
    return body


@each_private
def test_it_is_not_found_by_an_import(
    resource: Resource, secret: Callable[..., Any], user: Client, other: Client
) -> None:
    target = secret(resource)
    label = resource.fields[resource.model.label].title
    by_id = (("_id", label), (target.id, "changed"))
    by_name = ((label,), (NAME,))
    (row,) = imported(other, resource, *by_id)["data"]
    assert (row["action"], row["errors"][0]["rule"]) == ("error", "identity")
    (row,) = imported(other, resource, *by_name)["data"]
    assert row["action"] == "create"
    (row,) = imported(user, resource, *by_id)["data"]
    assert (row["action"], row["id"]) == ("update", target.id)
    (row,) = imported(user, resource, *by_name)["data"]
    assert (row["action"], row["id"]) == ("unchanged", target.id)


@each_private
def test_it_keeps_nobody_from_deleting_what_it_is_about(
    resource: Resource, secret: Callable[..., Any], make: Make, user: Client, other: Client, admin: Client
) -> None:
    """Nor does it go along: it loses what it refers to, which is recorded like any other change."""
    for name, field in resource.fields.items():
        if field.kind is not Kind.REFERENCE or field.read_only:
            continue
        subject = make(field.target, created_by_id=other.user.id)  # type: ignore[arg-type]
        target = secret(resource, **{name: subject.id})
        path = f"/api/{field.target.__tablename__}/{subject.id}"  # type: ignore[union-attr]
        shown = other.call("DELETE", path, query_string={"cascade": "true", "dry_run": "true"})["data"]
        assert shown["counts"] == {field.target.__tablename__: 1}  # type: ignore[union-attr]
        other.call("DELETE", path)
        left = user.call("GET", f"{resource.path}/{target.id}")["data"]
        assert (left[name], left["version"]) == (None, 2)
        asked = {"resource_type": resource.name, "resource_id": target.id, "action": "update"}
        (record,) = admin.call("GET", "/api/audit-logs", query_string=asked)["data"]
        assert record["changes"] == {name: {"old": subject.id, "new": None}}
        assert record["username"] == other.user.username


@each_private
def test_it_is_not_named_in_the_trail_of_others(
    resource: Resource, secret: Callable[..., Any], make: Make, user: Client, other: Client, admin: Client
) -> None:
    """Whoever deletes what it is about changes it, and does not learn its name from the record of that."""
    (name, field), *_ = ((n, f) for n, f in resource.fields.items() if f.kind is Kind.REFERENCE and not f.read_only)
    subject = make(field.target, created_by_id=other.user.id)  # type: ignore[arg-type]
    target = secret(resource, **{name: subject.id})
    other.call("DELETE", f"/api/{field.target.__tablename__}/{subject.id}")  # type: ignore[union-attr]
    own = other.call("POST", resource.path, json=make.body(resource), expect=201)["data"]["id"]
    other.call("DELETE", f"{resource.path}/{own}")

    def trail(client: Client, **query: Any) -> Body:
        body = client.call("GET", "/api/auth/me/activity", query_string={"page_size": 100, **query})
        assert body["pagination"]["total"] == len(body["data"])
        assert NAME not in str(body) or client is not other
        return body

    by_type = {"resource_type": resource.name}
    for query in (by_type, {"resource_id": target.id, **by_type}, {"q": "unlikely"}, {"field": name}, {"cursor": ""}):
        recorded = {(record["resource_type"], record["resource_id"]) for record in trail(other, **query)["data"]}
        assert (resource.name, target.id) not in recorded
    # One's own are there, deleted ones too; and administrators see all.
    assert [record["action"] for record in trail(other, **by_type)["data"]] == ["create", "delete"]
    everything = admin.call("GET", "/api/audit-logs", query_string={**by_type, "resource_id": target.id})["data"]
    assert everything[-1]["changes"] == {name: {"old": subject.id, "new": None}}
    user.call("DELETE", f"{resource.path}/{target.id}")
    assert trail(user, **by_type)["data"][-1]["resource_name"] == NAME


@each_private
def test_a_demoted_administrator_sees_it_no_more(
    resource: Resource, secret: Callable[..., Any], user: Client, admin: Client, sign_in: SignIn
) -> None:
    demoted = sign_in(role=Role.ADMIN)
    path = f"{resource.path}/{secret(resource).id}"
    demoted.call("PATCH", path, json={free_text(resource): "touched"})
    assert NAME in str(demoted.call("GET", "/api/auth/me/activity"))
    admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "user"})
    assert NAME not in str(demoted.call("GET", "/api/auth/me/activity"))


@each_private
def test_whoever_sees_it_deletes_it_along(
    resource: Resource, secret: Callable[..., Any], make: Make, user: Client, admin: Client
) -> None:
    for name, field in resource.fields.items():
        if field.kind is not Kind.REFERENCE or field.read_only:
            continue
        for client in (user, admin):
            subject = make(field.target, created_by_id=user.user.id)  # type: ignore[arg-type]
            target = secret(resource, **{name: subject.id})
            path = f"/api/{field.target.__tablename__}/{subject.id}"  # type: ignore[union-attr]
            assert client.call("DELETE", path, expect=409)["data"]["children"] == {resource.name: 1}
            client.call("DELETE", path, query_string={"cascade": "true"})
            client.call("GET", f"{resource.path}/{target.id}", expect=404)


@each_private
def test_the_statements_of_a_list_do_not_depend_on_its_size(
    resource: Resource, secret: Callable[..., Any], sign_in: SignIn, user: Client, statements: Statements
) -> None:
    def sent() -> int:
        with statements() as statement:
            user.call("GET", resource.path)
        return len(statement)

    secret(resource)
    few = sent()
    for _ in range(5):
        secret(resource)
    assert sent() == few


def test_there_is_something_private() -> None:
    assert any(issubclass(resource.model, Private) for resource in RESOURCES)
