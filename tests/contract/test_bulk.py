"""Bulk writes: each item is answered like a request of its own; all or nothing, or whatever is right."""

import json
from functools import partial
from typing import Any

import pytest
from flask import Flask

from app.core.db.rules import unique_rules
from app.core.db.unit_of_work import db
from app.datacenters.routes import resource as datacenters
from app.resource import Resource
from app.resource.bulk.schemas import MAX_BULK_ITEMS
from app.resource.fields import Kind
from tests.client import Body, Client
from tests.conftest import Statements
from tests.contract.resources import all_rows, each_private, each_public, each_resource
from tests.contract.test_removal import estate
from tests.contract.test_versions import referring
from tests.factories import Make, validation_errors, writable_fields
from tests.spread import spread
from tests.threads import run_concurrently

pytestmark = spread

DRY = {"dry_run": "true"}


def bulk(client: Client, method: str, resource: Resource, body: Body, **options: Any) -> Body:
    """The data of the answer. The body may be one that the document forbids: items are validated one by one."""
    answer = client.call(
        method, f"{resource.path}/bulk", data=json.dumps(body), content_type="application/json", **options
    )
    data: Body = answer["data"]
    return data


def statuses(data: Body) -> list[str]:
    return [result["status"] for result in data["results"]]


def free_text(resource: Resource) -> str:
    """A field that takes any text and that nothing keeps unique."""
    once = {name for names, _ in unique_rules(resource.model.__table__) for name in names}
    free = [
        name
        for name, field in writable_fields(resource).items()
        if field.kind is Kind.TEXT and field.check is None and field.nullable and name not in once
    ]
    assert free, f"These tests write notes of some kind, and {resource.name} have no column for any."
    return free[0]


@each_resource
def test_objects_are_created_in_order(resource: Resource, make: Make, admin: Client) -> None:
    bodies = [make.body(resource, full=k % 2 == 0) for k in range(4)]
    answer = admin.call("POST", f"{resource.path}/bulk", json={"mode": "atomic", "items": bodies}, expect=201)
    assert answer["data"]["counts"] == {"ok": 4, "error": 0, "not_found": 0, "forbidden": 0, "conflict": 0}
    for body, result in zip(bodies, answer["data"]["results"], strict=True):
        stored = admin.call("GET", f"{resource.path}/{result['id']}")["data"]
        assert (result["status"], result["data"], result["error"]) == ("ok", stored, None)
        assert stored["created_by"]["id"] == admin.user.id
        assert {name: stored[name] for name in body if name in stored} == {
            name: body[name] for name in body if name in stored
        }


@each_resource
def test_each_has_its_record_under_one_request(resource: Resource, make: Make, admin: Client) -> None:
    name = free_text(resource)
    items: list[Body] = [make.body(resource) for _ in range(3)]
    ids: list[int] = []
    for method, action, expected in (("POST", "create", 201), ("PATCH", "update", 200), ("DELETE", "delete", 200)):
        request = {"X-Request-ID": f"bulk-{method}-{resource.name}"}
        data = bulk(admin, method, resource, {"items": items}, headers=request, expect=expected)
        ids = [result["id"] for result in data["results"]]
        items = [{"id": each, name: f"text {each}"} if method == "POST" else {"id": each} for each in ids]
        asked = {"request_id": request["X-Request-ID"]}
        records = admin.call("GET", "/api/audit-logs", query_string=asked)["data"]
        assert sorted((each["action"], each["resource_id"]) for each in records) == [(action, each) for each in ids]
    assert not {row["id"] for row in all_rows(resource, admin)} & set(ids)


@each_resource
def test_each_item_is_answered_like_a_request_of_its_own(resource: Resource, make: Make, admin: Client) -> None:
    """Where whatever is right is stored, the rest says what is wrong with it."""
    invalid = {**make.body(resource), "nonsense": 1}
    bodies = [make.body(resource, full=True), invalid, make.body(resource), 7, None]
    wanted = ["ok", "error", "ok", "error", "error"]
    for names, folded in unique_rules(resource.model.__table__):
        stored = admin.call("POST", resource.path, json=make.body(resource, full=True), expect=201)["data"]
        bodies.append(make.body(resource, full=True, **{name: stored[name] for name in names}))
        again = bodies[0]
        same = {name: again.get(name) for name in names}
        if folded or None not in same.values():
            bodies.append(make.body(resource, full=True, **same))
            wanted.append("conflict")
        wanted.append("conflict")
    before = len(all_rows(resource, admin))
    data = bulk(admin, "POST", resource, {"mode": "partial", "items": bodies})
    assert statuses(data) == wanted
    for body, result in zip(bodies, data["results"], strict=True):
        if result["status"] != "ok":
            assert (result["id"], result["data"]) == (None, None)
            alone = {"data": json.dumps(body), "content_type": "application/json", "expect": (409, 422)}
            assert result["error"] == admin.call("POST", resource.path, **alone)
    assert len(all_rows(resource, admin)) == before + 2


@each_resource
def test_all_or_nothing(resource: Resource, make: Make, admin: Client) -> None:
    target = make(resource.model)
    name, fresh = free_text(resource), [make.body(resource) for _ in range(2)]
    before, records = all_rows(resource, admin), admin.call("GET", "/api/audit-logs")["pagination"]["total"]
    for method, items, status, wanted in (
        ("POST", [fresh[0], {}, fresh[1]], 422, ["error", "error", "error"]),
        ("PATCH", [{"id": target.id, name: "x"}, {"id": 2**40, name: "x"}], 404, ["error", "not_found"]),
        ("DELETE", [{"id": target.id}, {"id": 2**40}], 404, ["error", "not_found"]),
    ):
        for body in ({"items": items}, {"items": items, "mode": "atomic"}):
            data = bulk(admin, method, resource, body, expect=status)
            assert (data["reason"], statuses(data)) == ("bulk_failed", wanted)
            assert data["results"][0]["error"]["data"]["reason"] == "not_applied"
    assert all_rows(resource, admin) == before
    assert admin.call("GET", "/api/audit-logs")["pagination"]["total"] == records


@each_resource
def test_a_change_keeps_what_it_does_not_name(resource: Resource, make: Make, admin: Client) -> None:
    name = free_text(resource)
    ids = [make(resource.model, full=True).id for _ in range(3)]
    before = {row["id"]: row for row in all_rows(resource, admin)}
    items = [{"id": ids[2], name: "third"}, {"id": ids[0]}, {"id": ids[1], name: before[ids[1]][name]}]
    data = bulk(admin, "PATCH", resource, {"items": items})
    assert [result["id"] for result in data["results"]] == [ids[2], ids[0], ids[1]]
    after = {row["id"]: row for row in all_rows(resource, admin)}
    assert [after[each] for each in ids[:2]] == [before[each] for each in ids[:2]]
    assert (after[ids[2]][name], after[ids[2]]["version"]) == ("third", 2)
    assert data["results"][0]["data"] == after[ids[2]]


@each_resource
def test_what_is_wrong_with_a_change(resource: Resource, make: Make, admin: Client) -> None:
    target, other = make(resource.model), make(resource.model)
    name = free_text(resource)
    items = [
        {"id": target.id, name: "first"},
        {"id": target.id, name: "again"},
        {"id": 2**40, name: "x"},
        {"id": 2**63 - 1, name: "x"},
        {"id": 2**70, name: "x"},
        {"id": other.id, "version": 3},
        {"id": str(other.id)},
        {"id": True},
        {name: "x"},
        [],
    ]
    data = bulk(admin, "PATCH", resource, {"mode": "partial", "items": items})
    assert statuses(data) == ["ok", "error", "not_found", "not_found"] + ["error"] * 6
    assert "read-only" in data["results"][5]["error"]["data"]["errors"]["version"][0]
    whole = bulk(admin, "PATCH", resource, {"items": [{"id": float(other.id), name: "x"}]})
    assert [result["id"] for result in whole["results"]] == [other.id]
    assert admin.call("GET", f"{resource.path}/{other.id}")["data"]["version"] == 2
    gone = bulk(admin, "DELETE", resource, {"items": [float(other.id)]})
    assert statuses(gone) == ["ok"]


@each_resource
def test_a_value_that_another_has_is_refused_to_a_change(resource: Resource, make: Make, admin: Client) -> None:
    for names, _ in unique_rules(resource.model.__table__):
        create = partial(admin.call, "POST", resource.path, expect=201)
        first = create(json=make.body(resource, full=True))["data"]
        parents = {name: first[name] for name in names[:-1]}
        second, third = (create(json=make.body(resource, full=True, **parents))["data"] for _ in range(2))
        last = names[-1]
        items = [{"id": second["id"], last: first[last]}, {"id": third["id"], last: third[last]}]
        data = bulk(admin, "PATCH", resource, {"mode": "partial", "items": items})
        assert statuses(data) == ["conflict", "ok"]
        assert data["results"][0]["error"]["data"]["errors"] == {last: ["Already taken."]}


@each_public
def test_others_are_refused_row_by_row(resource: Resource, make: Make, user: Client, admin: Client) -> None:
    mine, other = (make(resource.model, created_by_id=each.user.id).id for each in (user, admin))
    name = free_text(resource)
    if resource.write.value == "admin":
        for method in ("POST", "PATCH", "DELETE"):
            bulk(user, method, resource, {"items": [{"id": mine}]}, expect=403)
        return
    items = [{"id": mine, name: "x"}, {"id": other, name: "x"}]
    data = bulk(user, "PATCH", resource, {"mode": "partial", "items": items})
    assert statuses(data) == ["ok", "forbidden"]
    assert bulk(user, "PATCH", resource, {"items": items}, expect=403)["reason"] == "bulk_failed"
    denied = {"action": "denied", "resource_type": resource.name, "resource_id": other}
    assert admin.call("GET", "/api/audit-logs", query_string=denied)["pagination"]["total"] == 1
    filtered = {"filter": {"id": [mine, other]}, "expected_count": 2}
    assert bulk(user, "DELETE", resource, filtered, expect=403)["reason"] == "bulk_failed"
    data = bulk(user, "DELETE", resource, {"mode": "partial", **filtered})
    assert statuses(data) == ["ok", "forbidden"]
    assert admin.call("GET", f"{resource.path}/{other}")["data"]["version"] == 1


@each_private
def test_what_is_private_is_not_there_for_others(
    resource: Resource, make: Make, user: Client, other: Client, admin: Client
) -> None:
    target = make(resource.model, created_by_id=user.user.id)
    for method in ("PATCH", "DELETE"):
        data = bulk(other, method, resource, {"mode": "partial", "items": [{"id": target.id}, {"id": 2**40}]})
        assert statuses(data) == ["not_found", "not_found"]
        change = {"set": {free_text(resource): "x"}} if method == "PATCH" else {}
        data = bulk(other, method, resource, {"filter": {}, "expected_count": 1, **change}, expect=409)
        assert data["count"] == 0
    assert admin.call("GET", f"{resource.path}/{target.id}")["data"]["version"] == 1


@each_resource
def test_all_that_a_filter_matches(resource: Resource, make: Make, admin: Client) -> None:
    ids = [make(resource.model).id for _ in range(4)]
    name = free_text(resource)
    body = {"filter": {"id": ids[:2], "version": 1, "created_by_id__isnull": True}, "set": {name: "the same"}}
    assert bulk(admin, "PATCH", resource, body, expect=428)["reason"] == "precondition_required"
    refused = bulk(admin, "PATCH", resource, {**body, "expected_count": 3}, expect=409)
    assert (refused["reason"], refused["count"]) == ("count_mismatch", 2)
    data = bulk(admin, "PATCH", resource, {**body, "expected_count": 2})
    assert [(result["status"], result["id"]) for result in data["results"]] == [("ok", each) for each in ids[:2]]
    after = {row["id"]: row for row in all_rows(resource, admin)}
    assert [after[each][name] for each in ids] == ["the same"] * 2 + [None] * 2
    removal = {"filter": {name: "the same", "id__in": ",".join(map(str, ids))}, "expected_count": 2}
    bulk(admin, "DELETE", resource, {"filter": removal["filter"]}, expect=428)
    bulk(admin, "DELETE", resource, {**removal, "expected_count": 1}, expect=409)
    bulk(admin, "DELETE", resource, removal)
    assert not {row["id"] for row in all_rows(resource, admin)} & set(ids[:2])


@each_resource
def test_a_dry_run_stores_nothing(resource: Resource, make: Make, admin: Client) -> None:
    target, fresh = make(resource.model), make.body(resource)
    before, records = all_rows(resource, admin), admin.call("GET", "/api/audit-logs")["pagination"]["total"]
    for method, body, status in (
        ("POST", {"items": [fresh]}, 201),
        ("PATCH", {"items": [{"id": target.id, free_text(resource): "x"}]}, 200),
        ("PATCH", {"filter": {"id": target.id}, "set": {free_text(resource): "x"}, "expected_count": 1}, 200),
        ("DELETE", {"items": [target.id]}, 200),
    ):
        assert statuses(bulk(admin, method, resource, body, query_string=DRY, expect=status)) == ["ok"]
    assert all_rows(resource, admin) == before
    assert admin.call("GET", "/api/audit-logs")["pagination"]["total"] == records


@each_resource
def test_what_has_children_is_counted_for_each(resource: Resource, make: Make, admin: Client) -> None:
    if not referring(resource):
        return
    child, name = referring(resource)[0]
    parent, empty = make(resource.model), make(resource.model)
    make(child, **{name: parent.id})
    data = bulk(admin, "DELETE", resource, {"mode": "partial", "items": [parent.id, empty.id]})
    assert statuses(data) == ["conflict", "ok"]
    alone = admin.call("DELETE", f"{resource.path}/{parent.id}", expect=409)
    assert data["results"][0]["error"] == alone


def test_a_cascade_takes_what_is_under_them_along(make: Make, admin: Client) -> None:
    places = [estate(make, 1).id for _ in range(2)]
    used_id = estate(make, 1).id
    bulk(admin, "DELETE", datacenters, {"items": places}, query_string={"cascade": "true"})
    assert [row["id"] for row in all_rows(datacenters, admin)] == [used_id]
    assert admin.call("GET", "/api/services")["pagination"]["total"] == 2


@each_resource
def test_bodies_that_are_refused_as_a_whole(resource: Resource, make: Make, admin: Client) -> None:
    name = free_text(resource)
    item = {"id": make(resource.model).id}
    whole: list[tuple[str, Body, int]] = [
        ("POST", {}, 422),
        ("POST", {"items": []}, 422),
        ("POST", {"items": {}}, 422),
        ("POST", {"items": [{}] * (MAX_BULK_ITEMS + 1)}, 422),
        ("POST", {"items": [{}], "mode": "some"}, 422),
        ("POST", {"items": [{}], "filter": {}}, 422),
        ("PATCH", {"items": [item], "filter": {}, "set": {name: "x"}, "expected_count": 1}, 422),
        ("PATCH", {"items": [item], "expected_count": 1}, 422),
        ("PATCH", {"filter": {}, "expected_count": 1}, 422),
        ("PATCH", {"filter": {}, "set": {}, "expected_count": 1}, 422),
        ("PATCH", {"filter": {}, "set": {"nonsense": 1}, "expected_count": 1}, 422),
        ("PATCH", {"filter": {"id": {}}, "set": {name: "x"}, "expected_count": 1}, 422),
        ("PATCH", {"filter": {"id": None}, "set": {name: "x"}, "expected_count": 1}, 422),
        ("PATCH", {"filter": {"nonsense": 1}, "set": {name: "x"}, "expected_count": 1}, 400),
        ("PATCH", {"filter": {"id": "x"}, "set": {name: "x"}, "expected_count": 1}, 400),
        ("DELETE", {"filter": {"page": 1}, "expected_count": 1}, 400),
        ("DELETE", {"filter": {}, "set": {name: "x"}, "expected_count": 1}, 422),
        ("DELETE", {"filter": {}, "expected_count": -1}, 422),
        ("DELETE", {"filter": [], "expected_count": 1}, 422),
    ]
    for method, body, status in whole:
        refused = bulk(admin, method, resource, body, expect=status)
        assert "results" not in refused, (method, body)
    bulk(admin, "DELETE", resource, {"items": [item]}, query_string={"dry_rum": "true"}, expect=400)
    assert admin.call("GET", f"{resource.path}/{item['id']}")["data"]["version"] == 1


@each_resource
def test_a_constraint_that_only_the_database_knows_is_told_of_the_right_item(
    resource: Resource, make: Make, admin: Client
) -> None:
    """Of two requests at once with the same value in the middle, one is refused that item and nothing else."""
    for names, _ in unique_rules(resource.model.__table__):
        first = make.body(resource, full=True)
        same = {name: first[name] for name in names if name in first}
        if validation_errors(resource, first) or len(same) < len(names):
            continue
        sets = [[make.body(resource), make.body(resource, full=True, **same), make.body(resource)] for _ in range(2)]
        answers = run_concurrently([
            partial(bulk, admin, "POST", resource, {"mode": "partial", "items": items}, expect=(200, 201))
            for items in sets
        ])  # fmt: skip
        assert sorted(statuses(answer) for answer in answers) == [["ok", "conflict", "ok"], ["ok", "ok", "ok"]]


@each_resource
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_the_statements_do_not_grow_with_the_items(
    resource: Resource, method: str, app: Flask, make: Make, admin: Client, statements: Statements
) -> None:
    if resource.model.orm_only and method != "DELETE":
        return  # written by the session, whose listeners see each

    def sent_for(count: int) -> int:
        if method == "POST":
            items: list[Any] = [make.body(resource) for _ in range(count)]
        else:
            items = [{"id": make(resource.model).id} for _ in range(count)]
        if method == "PATCH":
            items = [{**item, free_text(resource): "x"} for item in items]
        with statements() as sent:
            bulk(admin, method, resource, {"items": items}, expect=(200, 201))
        return len(sent)

    # The first of a table begins its sequence on SQLite, the first of a connection sets how long it waits on MySQL.
    # Other tests may have left several connections, which the pool gives out in turn.
    with app.app_context():
        db.engine.dispose()
    sent_for(1)
    assert sent_for(3) == sent_for(24)


@each_resource
def test_a_thousand_items_are_taken_and_no_more(resource: Resource, admin: Client) -> None:
    items = [2**40 + number for number in range(1000)]
    data = bulk(admin, "DELETE", resource, {"mode": "partial", "items": items})
    assert statuses(data) == ["not_found"] * 1000
    refused = bulk(admin, "DELETE", resource, {"mode": "partial", "items": [*items, 2**41]}, expect=422)
    assert list(refused["errors"]) == ["items"]
