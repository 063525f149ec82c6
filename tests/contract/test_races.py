"""Concurrent requests: the second one is refused with its reason, nothing is lost, and none waits for ever."""

from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.resource import Resource
from app.resource.fields import Kind
from tests.client import Client
from tests.contract.resources import each_resource
from tests.contract.test_bulk import free_text
from tests.contract.test_versions import another, stored
from tests.factories import RESOURCE_OF, Make, validation_errors, writable_fields
from tests.threads import run_concurrently

TIMES = 5


@pytest.mark.race(TIMES)
@each_resource
def test_a_child_that_is_created_while_its_parent_is_deleted(
    resource: Resource, make: Make, app: Flask, admin: Client
) -> None:
    """Either the parent has a child and stays, or it is gone and cannot get one."""
    for name, field in writable_fields(resource).items():
        if field.kind is not Kind.REFERENCE:
            continue
        assert field.target is not None
        for _ in range(TIMES):
            parent = make(field.target)
            body = make.body(resource, **{name: parent.id})
            if validation_errors(resource, body):
                continue
            path = f"{RESOURCE_OF[field.target].path}/{parent.id}"
            deleted, created = run_concurrently([
                partial(admin.send, "DELETE", path, expect=(200, 409)),
                partial(admin.send, "POST", resource.path, json=body, expect=(201, 409, 422)),
            ])  # fmt: skip
            answers = (deleted.status_code, created.status_code)
            assert answers in ((409, 201), (200, 422), (200, 409)), answers
        column = resource.model.__table__.c[name]
        there = sa.select(field.target.__table__.c.id)  # type: ignore[attr-defined]
        with app.app_context():
            orphans = sa.select(column).where(column.is_not(None), column.not_in(there))
            assert db.session.scalars(orphans).all() == []


@pytest.mark.race(TIMES)
@each_resource
def test_a_change_while_the_object_is_deleted(resource: Resource, make: Make, admin: Client) -> None:
    for _ in range(TIMES):
        path, body = stored(resource, make, admin)
        name, value = next(iter(another(resource, make, body).items()))
        deleted, changed = run_concurrently([
            partial(admin.send, "DELETE", path),
            partial(admin.send, "PATCH", path, json={name: value}, expect=(200, 404)),
        ])  # fmt: skip
        asked = {"resource_type": resource.name, "resource_id": body["id"], "sort": "id"}
        records = admin.call("GET", "/api/audit-logs", query_string=asked)["data"]
        expected = ["create", "update", "delete"] if changed.status_code == 200 else ["create", "delete"]
        assert [record["action"] for record in records] == expected
        assert [record["version"] for record in records] == list(range(1, len(expected) + 1))
        assert deleted.status_code == 200


@pytest.mark.race(TIMES)
@each_resource
def test_of_two_deletions_one_finds_something(resource: Resource, make: Make, admin: Client) -> None:
    for _ in range(TIMES):
        path, _ = stored(resource, make, admin)
        answers = run_concurrently([partial(admin.send, "DELETE", path, expect=(200, 404))] * 2)
        assert sorted(answer.status_code for answer in answers) == [200, 404]


@pytest.mark.race(TIMES)
@each_resource
def test_two_bulk_writes_of_the_same_objects_in_opposite_order(resource: Resource, make: Make, admin: Client) -> None:
    """Both are done, one after the other: no deadlock is shown."""
    ids = [make(resource.model).id for _ in range(6)]
    name = free_text(resource)
    change = partial(admin.send, "PATCH", f"{resource.path}/bulk")
    for turn in range(TIMES):
        forth = {"items": [{"id": each, name: f"forth {turn}"} for each in ids]}
        back = {"items": [{"id": each, name: f"back {turn}"} for each in reversed(ids)]}
        run_concurrently([partial(change, json=forth), partial(change, json=back)])
    rows = admin.call("GET", resource.path, query_string={"id__in": ",".join(map(str, ids))})["data"]
    assert len({row[name] for row in rows}) == 1
    assert {row["version"] for row in rows} == {1 + 2 * TIMES}
