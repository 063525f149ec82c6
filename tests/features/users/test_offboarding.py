"""Handing over what a user owns, and releasing the GPUs that the user holds."""

from flask import Flask

from app.gpus.models import Gpu
from app.resource import Private
from tests.client import Body, Client
from tests.conftest import SignIn
from tests.contract.resources import RESOURCES
from tests.factories import Make
from tests.features.conftest import Upload


def own_objects(make: Make, owner: int) -> dict[str, int]:
    return {resource.name: make(resource.model, created_by_id=owner).id for resource in RESOURCES}


def transfer(admin: Client, owner: Client, expect: int = 200, **body: object) -> Body:
    path = f"/api/users/{owner.user.id}/transfer"
    data: Body = admin.call("POST", path, json=body, expect=expect)["data"]
    return data


def test_all_that_a_user_owns_is_handed_over(make: Make, sign_in: SignIn, admin: Client, user: Client) -> None:
    leaver = sign_in()
    created = own_objects(make, leaver.user.id)
    path = f"/api/users/{leaver.user.id}"
    refused = admin.call("DELETE", path, query_string={"cascade": "true"}, expect=409)["data"]
    assert refused["children"] == dict.fromkeys(refused["children"], 1)
    answer = transfer(admin, leaver, to=user.user.id)
    assert answer == {"counts": dict.fromkeys(created, 1), "gpus": []}
    for resource in RESOURCES:
        item = admin.call("GET", f"{resource.path}/{created[resource.name]}")["data"]
        assert (item["created_by"]["id"], item["version"]) == (user.user.id, 2)
        query = {"resource_type": resource.name, "resource_id": item["id"], "version": 2}
        (record,) = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
        assert record["action"] == "transfer"
        assert record["changes"] == {"created_by_id": {"old": leaver.user.id, "new": user.user.id}}
        if issubclass(resource.model, Private):
            user.call("PATCH", f"{resource.path}/{item['id']}", json={})
    admin.call("DELETE", path)


def test_a_dry_run_hands_over_nothing(make: Make, sign_in: SignIn, admin: Client, user: Client) -> None:
    leaver = sign_in()
    created = own_objects(make, leaver.user.id)
    path = f"/api/users/{leaver.user.id}/transfer?dry_run=true"
    assert admin.call("POST", path, json={"to": user.user.id})["data"]["counts"] == dict.fromkeys(created, 1)
    assert admin.call("GET", f"/api/servers/{created['servers']}")["data"]["version"] == 1


def test_an_import_is_handed_over_and_can_be_reverted(
    sign_in: SignIn, admin: Client, user: Client, upload: Upload
) -> None:
    leaver = sign_in()
    import_ = upload(leaver, Servers=[("Name",), ("a",)], form={"apply": "true"})
    assert transfer(admin, leaver, to=user.user.id)["counts"] == {"servers": 1, "imports": 1}
    admin.call("DELETE", f"/api/users/{leaver.user.id}")
    user.call("POST", f"/api/imports/{import_['id']}/revert")
    assert user.call("GET", "/api/servers")["data"] == []


def test_the_new_owner_is_another_active_user(make: Make, sign_in: SignIn, admin: Client, user: Client) -> None:
    leaver = sign_in()
    admin.call("PATCH", f"/api/users/{user.user.id}", json={"is_active": False})
    for to in (leaver.user.id, user.user.id, 2**40):
        assert list(transfer(admin, leaver, expect=422, to=to)["errors"]) == ["to"]
    admin.call("POST", f"/api/users/{2**40}/transfer", json={"to": admin.user.id}, expect=404)


def test_deactivation_says_which_gpus_are_held_and_releases_them(
    app: Flask, make: Make, sign_in: SignIn, admin: Client
) -> None:
    holder, gpu = sign_in(), make(Gpu, model="H100")
    holder.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": holder.user.id, "purpose": "training"})
    path = f"/api/users/{holder.user.id}"
    answer = admin.call("POST", f"{path}/deactivate", json={})["data"]
    (held,) = answer["gpus"]
    assert (held["id"], held["model"], held["purpose"], held["is_released"]) == (gpu.id, "H100", "training", False)
    assert held["server"]["id"] == gpu.server_id
    assert answer["user"] == {"id": holder.user.id, "name": holder.user.username}
    assert admin.call("GET", path)["data"]["is_active"] is False
    holder.call("GET", "/api/auth/me", expect=401)
    assert admin.call("DELETE", path, expect=409)["data"]["children"] == {"gpus": 1}
    (held,) = admin.call("POST", f"{path}/deactivate", json={"release_gpus": True})["data"]["gpus"]
    assert held["is_released"] is True
    assert admin.call("GET", f"/api/gpus/{gpu.id}")["data"]["status"] == "available"
    (entry,) = admin.call("GET", f"/api/gpus/{gpu.id}/assignments")["data"]
    assert entry["released_by"] == admin.user.username
    query = {"resource_type": "gpus", "resource_id": gpu.id, "sort": "-id"}
    assert admin.call("GET", "/api/audit-logs", query_string=query)["data"][0]["action"] == "release"
    admin.call("DELETE", path)
