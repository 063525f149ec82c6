"""`If-None-Match`: 304 while nothing of the answer has changed, and never after that."""

from flask import Flask

from app.resource import Resource
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.contract.resources import each_readable, each_resource
from tests.contract.test_access_table import TABLE, Scene
from tests.contract.test_versions import another
from tests.factories import Make
from tests.openapi import JSON, Document, Operation
from tests.spread import any_database

pytestmark = any_database


def tag_of(client: Client, path: str) -> dict[str, str]:
    return {"If-None-Match": client.send("GET", path).headers["ETag"]}


@each_readable
def test_a_list_is_sent_once(resource: Resource, make: Make, admin: Client) -> None:
    if resource.name != "audit_logs":
        make(resource.model)
    for query in ("", "?fields=id", "?cursor=&sort=-id"):
        seen = tag_of(admin, resource.path + query)
        answer = admin.send("GET", resource.path + query, headers=seen, expect=304)
        assert (answer.data, answer.headers["ETag"]) == (b"", seen["If-None-Match"])
        weak = {"If-None-Match": f'"other", W/{seen["If-None-Match"]}'}
        admin.send("GET", resource.path + query, headers=weak, expect=304)
        admin.send("GET", resource.path + query, headers={"If-None-Match": '"other"'})


@each_resource
def test_a_changed_list_is_sent_again(resource: Resource, make: Make, admin: Client) -> None:
    created = admin.call("POST", resource.path, json=make.body(resource, full=True), expect=201)["data"]
    seen = tag_of(admin, resource.path)
    name, value = next(iter(another(resource, make, created).items()))
    admin.call("PATCH", f"{resource.path}/{created['id']}", json={name: value})
    admin.send("GET", resource.path, headers=seen)
    seen = tag_of(admin, resource.path)
    admin.call("DELETE", f"{resource.path}/{created['id']}")
    admin.send("GET", resource.path, headers=seen)


@each_resource
def test_an_object_is_sent_once(resource: Resource, make: Make, admin: Client) -> None:
    created = admin.call("POST", resource.path, json=make.body(resource, full=True), expect=201)["data"]
    path = f"{resource.path}/{created['id']}"
    seen = tag_of(admin, path)
    answer = admin.send("GET", path, headers=seen, expect=304)
    assert (answer.data, answer.headers["ETag"]) == (b"", seen["If-None-Match"])
    name, value = next(iter(another(resource, make, created).items()))
    admin.call("PATCH", path, json={name: value})
    admin.send("GET", path, headers=seen)
    admin.call("DELETE", path)
    admin.call("GET", path, headers=seen, expect=404)


def test_another_name_of_what_an_object_refers_to_is_seen(make: Make, admin: Client) -> None:
    server = make(Server)
    gpu = admin.call("POST", "/api/gpus", json={"model": "A100", "server_id": server.id}, expect=201)["data"]
    seen = {path: tag_of(admin, path) for path in ("/api/gpus", f"/api/gpus/{gpu['id']}")}
    for path, tag in seen.items():
        admin.send("GET", path, headers=tag, expect=304)
    admin.call("PATCH", f"/api/servers/{server.id}", json={"name": "renamed"})
    for path, tag in seen.items():
        assert b"renamed" in admin.send("GET", path, headers=tag).data


def test_what_raises_no_version_is_seen(anonymous: Client, admin: Client, user: Client) -> None:
    path = f"/api/users/{user.user.id}"
    seen = tag_of(admin, path)
    anonymous.call("POST", "/api/auth/login", json={"username": user.user.username, "password": PASSWORD})
    admin.send("GET", path, headers=seen)


def test_an_audit_record_is_sent_once(admin: Client, user: Client) -> None:
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"full_name": "A"})
    record = admin.call("GET", "/api/audit-logs", query_string={"sort": "-id", "page_size": 1})["data"][0]
    path = f"/api/audit-logs/{record['id']}"
    admin.send("GET", path, headers=tag_of(admin, path), expect=304)


def test_my_account_is_sent_once(user: Client) -> None:
    user.call("PATCH", "/api/auth/me", json={"full_name": "A"})
    seen = tag_of(user, "/api/auth/me")
    user.send("GET", "/api/auth/me", headers=seen, expect=304)
    user.call("PATCH", "/api/auth/me", json={"full_name": "B"})
    user.send("GET", "/api/auth/me", headers=seen)


def test_whose_list_it_is_matters(make: Make, user: Client, other: Client, admin: Client) -> None:
    task = make(Task, created_by_id=user.user.id)
    seen = tag_of(user, "/api/tasks")
    other.send("GET", "/api/tasks", headers=seen)
    own = tag_of(user, f"/api/tasks/{task.id}")
    other.send("GET", f"/api/tasks/{task.id}", headers=own, expect=404)
    admin.send("GET", f"/api/tasks/{task.id}", headers=own, expect=304)


def test_the_document_says_so(admin: Client) -> None:
    for path in ("/api/servers", "/api/servers/{object_id}", "/api/servers/tree", "/api/auth/me"):
        operation = admin.document.spec["paths"][path]["get"]
        assert "304" in operation["responses"], path
        assert {"$ref": "#/components/parameters/IfNoneMatch"} in operation["parameters"], path
        assert "ETag" in operation["responses"]["200"]["headers"], path


def test_every_answer_in_the_envelope_is_sent_once(app: Flask, document: Document, make: Make, sign_in: SignIn) -> None:
    scene = Scene(app, document, make, sign_in)
    # The version of an object stands for it where nothing else of it has changed since: a login does.
    scene.callers["admin"].call("PATCH", "/api/auth/me", json={"full_name": "A"})
    tagged = 0
    for method, route in TABLE:
        if method != "GET" or Operation(route, "get") not in document.operations:
            continue
        caller = scene.callers["owner" if TABLE[method, route]["admin"] >= 300 else "admin"]
        path, options = scene.request(method, route, caller)
        first = caller.send(method, path, expect=tuple(range(200, 500)), **options)
        if first.status_code == 200 and first.mimetype == JSON:
            again = caller.send(method, path, headers={"If-None-Match": first.headers["ETag"]}, expect=304, **options)
            assert (again.data, again.headers["ETag"]) == (b"", first.headers["ETag"]), route
            tagged += 1
    assert tagged > 50
