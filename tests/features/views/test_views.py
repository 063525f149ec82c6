"""Saved views: private or shared, by resource."""

import pytest

from app.core.http.access import Role
from app.users.models import User
from app.views import service
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.spread import any_database

pytestmark = any_database

VIEW = {"resource": "servers", "name": "Retired in 上海", "query": "status=retired&datacenter=SH-1&columns=name,rack"}


@pytest.fixture
def owner(sign_in: SignIn) -> Client:
    return sign_in(username="owner")


def test_a_view_is_kept_for_its_owner_alone(owner: Client, sign_in: SignIn) -> None:
    created = owner.call("POST", "/api/views", expect=201, json=VIEW)["data"]
    assert {**VIEW, "owner": "owner", "shared": False}.items() <= created.items()
    assert owner.call("GET", "/api/views")["data"] == [created]
    assert owner.call("GET", "/api/views", query_string={"resource": "gpus"})["data"] == []
    other = sign_in()
    assert other.call("GET", "/api/views")["data"] == []
    other.call("PATCH", f"/api/views/{created['id']}", expect=404, json={"name": "mine"})
    other.call("DELETE", f"/api/views/{created['id']}", expect=404)


def test_a_shared_view_is_read_by_all_and_changed_by_owner_and_administrators(owner: Client, sign_in: SignIn) -> None:
    created = owner.call("POST", "/api/views", expect=201, json={**VIEW, "shared": True})["data"]
    path = f"/api/views/{created['id']}"
    other, admin = sign_in(), sign_in(role=Role.ADMIN)
    assert other.call("GET", "/api/views", query_string={"resource": "servers"})["data"] == [created]
    other.call("PATCH", path, expect=403, json={"name": "ours"})
    assert owner.call("PATCH", path, json={"query": "status=offline"})["data"]["query"] == "status=offline"
    admin.call("DELETE", path)
    assert owner.call("GET", "/api/views")["data"] == []


def test_a_name_is_taken_once_for_each_owner_and_resource(owner: Client, sign_in: SignIn) -> None:
    first = owner.call("POST", "/api/views", expect=201, json=VIEW)["data"]
    refusal = owner.call("POST", "/api/views", expect=422, json=VIEW)["data"]
    assert refusal["problems"]["name"][0]["rule"] == "unique"
    owner.call("PATCH", f"/api/views/{first['id']}", json={"name": VIEW["name"], "shared": True})
    owner.call("POST", "/api/views", expect=201, json={**VIEW, "resource": "gpus"})
    sign_in().call("POST", "/api/views", expect=201, json=VIEW)


def test_views_are_of_resources_that_one_may_read(owner: Client) -> None:
    refusal = owner.call("POST", "/api/views", expect=400, json={**VIEW, "resource": "serverz"})["data"]
    assert "servers" in refusal["did_you_mean"]
    owner.call("POST", "/api/views", expect=400, json={**VIEW, "resource": "users"})
    owner.call("POST", "/api/views", expect=400, json={**VIEW, "resource": "servers,gpus"})


def test_views_are_bounded(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_VIEWS", 1)
    owner.call("POST", "/api/views", expect=201, json=VIEW)
    refusal = owner.call("POST", "/api/views", expect=409, json={**VIEW, "name": "second"})["data"]
    assert refusal["reason"] == "too_many_views"


def test_the_views_of_a_deleted_user_go_with_them(sign_in: SignIn, make: Make) -> None:
    admin, leaving = sign_in(role=Role.ADMIN), sign_in()
    leaving.call("POST", "/api/views", expect=201, json={**VIEW, "shared": True})
    assert isinstance(leaving.user, User)
    admin.call("DELETE", f"/api/users/{leaving.user.id}")
    assert admin.call("GET", "/api/views")["data"] == []
