"""Below an object, only those who may change it add others, however they come there."""

from collections.abc import Iterator

import pytest

from app.core.http.access import Role
from app.resource import Private, Resource
from app.resource.fields import Field, Kind
from tests.client import Client
from tests.contract.resources import RESOURCES
from tests.factories import RESOURCE_OF, Make
from tests.spread import spread

pytestmark = spread


def parents() -> Iterator[tuple[Resource, Field]]:
    for resource in RESOURCES:
        for field in resource.references.values():
            if field.parent:
                yield resource, field


each_parent = pytest.mark.parametrize(
    ("resource", "field"), [pytest.param(*each, id=f"{each[0].name}.{each[1].name}") for each in parents()]
)


def path_of(field: Field, identity: int) -> str:
    return f"{RESOURCE_OF[field.target].path}/{identity}"  # type: ignore[index]


def test_parents_are_what_users_create() -> None:
    """A reference to what administrators write is none, and neither is that of a private object, which is removed
    from it without a word."""
    for resource in RESOURCES:
        for field in resource.references.values():
            public = field.target is not None and RESOURCE_OF[field.target].write is Role.USER
            written = public and not field.read_only and not issubclass(resource.model, Private)
            assert field.parent == written, (resource.name, field.name)


@each_parent
def test_only_who_may_change_it_adds_to_it(
    resource: Resource, field: Field, make: Make, user: Client, other: Client, admin: Client
) -> None:
    parent = make(field.target, created_by_id=user.user.id)  # type: ignore[arg-type]
    sent = [make.body(resource, **{field.name: parent.id}) for _ in range(3)]
    refused = other.call("POST", resource.path, json=sent[0], expect=403)["data"]
    assert (refused["reason"], list(refused["errors"])) == ("not_owner", [field.name])
    other.call("POST", resource.path, json=sent[0], query_string={"dry_run": "true"}, expect=403)
    (record,) = admin.call("GET", f"/api/audit-logs?action=denied&resource_type={resource.name}")["data"][:1]
    assert record["user_id"] == other.user.id
    bulk = other.call("POST", f"{resource.path}/bulk", json={"mode": "partial", "items": sent[:1]})["data"]
    assert bulk["results"][0]["status"] == "forbidden"
    user.call("POST", resource.path, json=sent[0], expect=201)
    user.call("POST", f"{resource.path}/bulk", json={"mode": "atomic", "items": sent[1:2]}, expect=201)
    user.call("DELETE", path_of(field, parent.id), query_string={"cascade": "true"})
    nobodys = make(field.target)  # type: ignore[arg-type]
    admin.call("POST", resource.path, json={**sent[2], field.name: nobodys.id}, expect=201)


@each_parent
def test_nothing_is_moved_below_somebody_elses_object(
    resource: Resource, field: Field, make: Make, user: Client, other: Client, admin: Client
) -> None:
    theirs, new = (make(field.target, created_by_id=owner.user.id) for owner in (user, other))  # type: ignore[arg-type]
    # An administrator may have put it there.
    child = make(resource.model, created_by_id=other.user.id, **{field.name: theirs.id})
    path, change = f"{resource.path}/{child.id}", {field.name: theirs.id}
    other.call("PATCH", path, json=change)
    other.call("PATCH", path, json={field.name: new.id})
    for method in ("PATCH", "PUT"):
        assert other.call(method, path, json=change, expect=403)["data"]["reason"] == "not_owner"
    bulk = {"mode": "partial", "items": [{"id": child.id, **change}]}
    by_filter = {"mode": "partial", "filter": {"id": child.id}, "set": change, "expected_count": 1}
    for body in (bulk, by_filter):
        results = other.call("PATCH", f"{resource.path}/bulk", json=body)["data"]["results"]
        assert [result["status"] for result in results] == ["forbidden"]
    assert other.call("GET", path)["data"][field.name] == new.id
    assert list(other.call("PATCH", path, json={field.name: 2**40}, expect=422)["data"]["errors"]) == [field.name]
    admin.call("PATCH", path, json=change)


def test_anybody_has_a_task_about_anything(make: Make, user: Client, other: Client) -> None:
    for resource in RESOURCES:
        if issubclass(resource.model, Private):
            for field in resource.fields.values():
                if field.kind is Kind.REFERENCE and not field.read_only:
                    subject = make(field.target, created_by_id=user.user.id)  # type: ignore[arg-type]
                    other.call("POST", resource.path, json=make.body(resource, **{field.name: subject.id}), expect=201)
