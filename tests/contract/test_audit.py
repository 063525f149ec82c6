"""The audit log: one record for each change, with who, what and why, and nothing that is secret."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app.core.audit.declaration import audited_columns
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.values import as_json
from app.resource import Resource
from app.resource.fields import Kind
from app.users.models import User
from tests.client import CANARIES, Body, Client
from tests.contract.resources import each_public, each_resource
from tests.contract.test_bulk import free_text
from tests.contract.test_uniqueness import alike, rules
from tests.contract.test_versions import another, stored
from tests.factories import Make, optional_fields, writable_fields
from tests.openapi import Document
from tests.spread import spread

pytestmark = spread

RECORD = {
    "id", "created_at", "user_id", "username", "action", "resource_type", "resource_id", "resource_name", "version",
    "changes", "snapshot", "ip_address", "user_agent", "token_id", "request_id", "reason",
}  # fmt: skip


def records_of(resource: Resource, identity: int, admin: Client) -> list[Body]:
    """The records of an object, the first one first."""
    query = {"resource_type": resource.name, "resource_id": identity, "sort": "id", "page_size": 100}
    records: list[Body] = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    return [record for record in records if record["version"] is not None]


def count(admin: Client) -> int:
    total: int = admin.call("GET", "/api/audit-logs")["pagination"]["total"]
    return total


def live(app: Flask, resource: Resource, identity: int) -> Body:
    """The columns of an object that the log has to know, as they are in the database."""
    table = resource.model.__table__
    with app.app_context():
        row = db.session.execute(sa.select(table).where(table.c.id == identity)).mappings().one()
        return {
            name: as_json(row[name])
            for name, column in audited_columns(resource.model).items()
            if not column.info.get("secret")
        }


HEADERS = {"X-Request-ID": "request-0042", "X-Audit-Reason": "Ticket 4711: ärger 机房", "User-Agent": "tests/1"}


def assert_attributed(record: Body, client: Client) -> None:
    """Assert that a record says who made the request with HEADERS, from where and why."""
    assert set(record) == RECORD
    assert (record["user_id"], record["username"]) == (client.user.id, client.user.username)
    assert record["request_id"] == "request-0042"
    assert record["reason"] == "Ticket 4711: ärger 机房"
    assert (record["ip_address"], record["user_agent"]) == ("127.0.0.1", "tests/1")
    assert record["token_id"]


HEADERS_SENT = {name: value.encode().decode("latin-1") for name, value in HEADERS.items()}


@each_resource
def test_a_creation(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    body = make.body(resource, full=True)
    created = admin.call("POST", resource.path, json=body, headers=HEADERS_SENT, expect=201)["data"]
    (record,) = records_of(resource, created["id"], admin)
    assert_attributed(record, admin)
    assert (record["action"], record["version"], record["snapshot"]) == ("create", 1, None)
    assert record["created_at"] == created["created_at"]
    assert record["resource_name"] == created[resource.model.label]
    assert all(change["old"] is None for change in record["changes"].values())
    known = {name: value for name, value in live(app, resource, created["id"]).items() if value is not None}
    assert {name: record["changes"][name]["new"] for name in known} == known
    assert {name for name, change in record["changes"].items() if change["new"] != "changed"} <= set(known)


@each_resource
def test_a_change(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    for version, (name, value) in enumerate(another(resource, make, body).items(), 2):
        changed = admin.call("PATCH", path, json={name: value}, headers=HEADERS_SENT)["data"]
        record = records_of(resource, body["id"], admin)[-1]
        assert_attributed(record, admin)
        assert (record["action"], record["version"], record["snapshot"]) == ("update", version, None)
        assert record["changes"] == {name: {"old": body[name], "new": value}}
        assert record["created_at"] == changed["updated_at"]


@each_resource
def test_several_fields_at_once_are_one_record(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    changes = another(resource, make, body)
    admin.call("PUT", path, json=changes)
    record = records_of(resource, body["id"], admin)[-1]
    assert record["version"] == 2
    assert record["changes"] == {name: {"old": body[name], "new": value} for name, value in changes.items()}


@each_resource
def test_a_deletion(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    snapshot = live(app, resource, body["id"])
    admin.call("DELETE", path, headers=HEADERS_SENT)
    record = records_of(resource, body["id"], admin)[-1]
    assert_attributed(record, admin)
    assert (record["action"], record["version"], record["changes"]) == ("delete", 2, {})
    assert {name: record["snapshot"][name] for name in snapshot} == snapshot
    assert {record["snapshot"][name] for name in ("id", "version")} == {body["id"], 1}


@each_resource
def test_replaying_the_records_gives_the_row(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    identity = body["id"]
    for _ in range(2):
        for name, value in another(resource, make, body).items():
            admin.call("PATCH", path, json={name: value})
    # More decimals than are stored.
    for name, field in writable_fields(resource).items():
        if field.kind is Kind.NUMBER:
            admin.call("PATCH", path, json={name: 0.12349})
    for name in optional_fields(resource):
        admin.call("PATCH", path, json={name: None}, expect=(200, 422))
    admin.call("PATCH", path, json=another(resource, make, body))

    replayed: Body = dict.fromkeys(audited_columns(resource.model))
    records = records_of(resource, identity, admin)
    assert [record["version"] for record in records] == list(range(1, len(records) + 1))
    for record in records:
        for name, change in record["changes"].items():
            if change["new"] != "changed":
                assert change["old"] == replayed[name], (record["version"], name)
                replayed[name] = change["new"]
    current = live(app, resource, identity)
    assert {name: replayed[name] for name in current} == current
    assert len(records) == admin.call("GET", path)["data"]["version"]


@each_resource
def test_a_request_that_fails_leaves_no_record(resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    invalid = {**make.body(resource, full=True), "nonsense": 1}
    taken = [alike(resource, make, body, rule) for rule in rules(resource)]
    before = count(admin)
    admin.call("POST", resource.path, json=invalid, expect=422)
    admin.call("PATCH", path, json=invalid, expect=422)
    for same in taken:
        admin.call("POST", resource.path, json=same, expect=409)
    admin.call("PATCH", path, json={}, headers={"If-Match": '"7"'}, expect=412)
    admin.call("DELETE", path, headers={"If-Match": '"7"'}, expect=412)
    admin.call("DELETE", f"{resource.path}/987654321", expect=404)
    assert count(admin) == before


@each_public
def test_a_refusal_is_recorded(resource: Resource, make: Make, admin: Client, user: Client, other: Client) -> None:
    identity = make(resource.model).id
    path = f"{resource.path}/{identity}"
    # What one user is refused within a minute is counted in one record.
    for caller, method in ((user, "PATCH"), (other, "DELETE")):
        options = {"json": {}} if method == "PATCH" else {}
        caller.call(method, path, headers=HEADERS_SENT, expect=403, **options)
        query = {"action": "denied", "resource_type": resource.name, "sort": "-id"}
        record = admin.call("GET", "/api/audit-logs", query_string=query)["data"][0]
        assert_attributed(record, caller)
        assert (record["resource_id"], record["resource_name"]) == (identity, f"{method} {path}")
        assert (record["version"], record["changes"], record["snapshot"]) == (None, {}, None)
    assert len(records_of(resource, identity, admin)) == 1


@each_resource
def test_no_secret_is_in_the_log(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    path, body = stored(resource, make, admin)
    admin.call("PATCH", path, json=another(resource, make, body))
    admin.call("DELETE", path)
    with app.app_context():
        rows = db.session.execute(sa.select(AuditLog.__table__)).all()
        everything = " ".join(str(value) for row in rows for value in row)
        hidden = [name for name, column in audited_columns(resource.model).items() if column.info.get("secret")]
    assert not [canary for canary in CANARIES if canary in everything]
    for name in hidden:
        changes = [record["changes"] for record in records_of(resource, body["id"], admin)]
        assert changes[0][name] == {"old": None, "new": "changed"}
        assert all(name not in (record["snapshot"] or {}) for record in records_of(resource, body["id"], admin))


@each_resource
def test_what_the_application_did_by_itself_is_attributed_too(resource: Resource, make: Make, admin: Client) -> None:
    (record,) = records_of(resource, make(resource.model).id, admin)
    assert (record["user_id"], record["username"], record["request_id"]) == (None, "the tests", "made-by-the-tests")
    assert (record["ip_address"], record["token_id"]) == (None, None)


def test_the_log_outlives_what_it_is_about(make: Make, admin: Client, sign_in: Any) -> None:
    """Names are copied: the user and the object of a record may have been deleted."""
    leaver = sign_in()
    created = leaver.call("POST", "/api/servers", json={"name": "kept in mind"}, expect=201)["data"]
    leaver.call("DELETE", f"/api/servers/{created['id']}")
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    query = {"resource_type": "servers", "resource_id": created["id"], "sort": "id"}
    records = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert [record["action"] for record in records] == ["create", "delete"]
    for record in records:
        assert (record["user_id"], record["username"]) == (leaver.user.id, leaver.user.username)
        assert record["resource_name"] == "kept in mind"


def test_times_are_utc(make: Make, admin: Client) -> None:
    before = datetime.now(UTC)
    make(User)
    record = admin.call("GET", "/api/audit-logs", query_string={"sort": "-id"})["data"][0]
    assert record["created_at"].endswith("Z")
    assert before <= datetime.fromisoformat(record["created_at"]) <= datetime.now(UTC)


@each_resource
def test_every_write_takes_a_reason(resource: Resource, make: Make, admin: Client) -> None:
    """As a query parameter, whose UTF-8 is percent-encoded like that of any other."""
    path, reason = resource.path, {"reason": "机房 Ä"}
    one = admin.call("POST", path, json=make.body(resource), query_string=reason, expect=201)["data"]["id"]
    admin.call("PATCH", f"{path}/{one}", json={free_text(resource): "changed"}, query_string=reason)
    admin.call("DELETE", f"{path}/{one}", query_string={**reason, "cascade": "true"})
    bulk = f"{path}/bulk"
    answer = admin.call("POST", bulk, json={"items": [make.body(resource)]}, query_string=reason, expect=201)
    other = answer["data"]["results"][0]["id"]
    admin.call("DELETE", bulk, json={"items": [{"id": other}]}, query_string=reason)
    for identity in (one, other):
        records = records_of(resource, identity, admin)
        assert [record["reason"] for record in records] == ["机房 Ä"] * len(records)


def test_the_document_names_the_reason_of_every_write(document: Document) -> None:
    for operation, content in document.operations.items():
        parameters = {(item["in"], item["name"]) for item in map(document.resolve, content.get("parameters", ()))}
        if operation.method != "get":
            assert {("query", "reason"), ("header", "X-Audit-Reason")} <= parameters, operation
