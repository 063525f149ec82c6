"""Who may do what with every resource, and that no bad token gets past any route."""

import re
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token

from app.audit_logs.declaration import resource as audit_logs
from app.core.http.access import Role, access_of
from app.resource import Private, Resource
from tests.client import PASSWORD, Client
from tests.conftest import SignIn
from tests.contract.resources import each_readable, each_resource
from tests.factories import Make
from tests.openapi import Document, template_of
from tests.spread import any_database

pytestmark = any_database


def routes(app: Flask) -> dict[tuple[str, str], str]:
    """The access that every route of the application declares."""
    access_of_route = {}
    for rule in app.url_map.iter_rules():
        access: Any = access_of(app.view_functions[rule.endpoint])
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            access_of_route[method, template_of(rule.rule)] = access.value if isinstance(access, Role) else access
    return access_of_route


def calls(app: Flask) -> list[tuple[str, str, str]]:
    """A method, a path and the access of every route; what is read is asked for in a wrong way, too."""
    right = [(method, re.sub(r"{\w+}", "1", path), access) for (method, path), access in routes(app).items()]
    wrong = [(method, f"{path}?page_size=none&nonsense=1", access) for method, path, access in right if method == "GET"]
    return right + wrong


def test_an_anonymous_caller_is_refused_first(app: Flask, document: Document, sign_in: SignIn) -> None:
    """Whatever the route and the token: nothing of the request is looked at before."""
    for name, token in bad_tokens(app, sign_in).items():
        client = Client(app, document, token)
        for method, path, access in calls(app):
            if access != "public" and name != f"{access} token":
                reason = client.call(method, path, expect=401)["data"]["reason"]
                assert reason in ("token_missing", "token_invalid", "token_expired", "token_revoked"), (path, name)


def bad_tokens(app: Flask, sign_in: SignIn) -> dict[str, str | None]:
    """Tokens that let nobody in, and those that only one of the routes takes."""
    revoked, inactive = sign_in(role=Role.ADMIN), sign_in(role=Role.ADMIN)
    revoked.call("POST", "/api/auth/logout")
    admin = sign_in(role=Role.ADMIN)
    admin.call("PATCH", f"/api/users/{inactive.user.id}", json={"is_active": False})
    credentials = {"username": admin.user.username, "password": PASSWORD}
    pair = admin.call("POST", "/api/auth/login", json=credentials)["data"]
    with app.app_context():
        claims = {"sid": decode_token(pair["access_token"])["sid"], "gen": 0}
        options = {"expires_delta": timedelta(seconds=-1), "additional_claims": claims}
        expired = create_access_token(str(admin.user.id), **options)
        expired_refresh = create_refresh_token(str(admin.user.id), **options)
    head, claims_part, signature = pair["access_token"].split(".")
    return {
        "none": None,
        "malformed": "nonsense",
        "tampered": f"{head}.{claims_part[:-2]}AA.{signature}",
        "unsigned": f"{head}.{claims_part}.",
        "expired": expired,
        "expired refresh": expired_refresh,
        "revoked": revoked.token,
        "of an inactive user": inactive.token,
        "refresh token": pair["refresh_token"],
    }


def test_a_refresh_route_takes_no_access_token(app: Flask, admin: Client) -> None:
    for method, path, access in calls(app):
        if access == "refresh":
            assert admin.call(method, path, expect=401)["data"]["reason"] == "token_invalid"


def test_users_are_refused_what_is_for_administrators(app: Flask, user: Client) -> None:
    for method, path, access in calls(app):
        if access == "admin":
            assert user.call(method, path, expect=403)["data"]["reason"] == "role", path


def test_who_is_demoted_has_no_more_power_at_once(app: Flask, admin: Client, sign_in: SignIn) -> None:
    demoted = sign_in(role=Role.ADMIN)
    demoted.call("GET", "/api/users")
    admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "user"})
    for method, path, access in calls(app):
        if access == "admin":
            demoted.call(method, path, expect=403)


@each_readable
def test_who_reads(resource: Resource, make: Make, admin: Client, user: Client) -> None:
    identity = admin.user.id if resource is audit_logs else make(resource.model, created_by_id=user.user.id).id
    if resource is audit_logs:
        identity = admin.call("GET", resource.path)["data"][0]["id"]
    expected = 200 if resource.read is Role.USER else 403
    for path in (resource.path, f"{resource.path}/{identity}"):
        admin.call("GET", path)
        user.call("GET", path, expect=expected)
        admin.send("HEAD", path)
        user.send("HEAD", path, expect=expected)


@each_resource
def test_who_creates(resource: Resource, make: Make, admin: Client, user: Client) -> None:
    allowed = resource.write is Role.USER
    created = admin.call("POST", resource.path, json=make.body(resource), expect=201)["data"]
    assert created["created_by"] == {"id": admin.user.id, "name": admin.user.username}
    sent = make.body(resource, below=user.user.id)
    body = user.call("POST", resource.path, json=sent, expect=201 if allowed else 403)
    if allowed:
        assert body["data"]["created_by"] == {"id": user.user.id, "name": user.user.username}


@each_resource
def test_who_changes_and_deletes(resource: Resource, make: Make, admin: Client, user: Client, other: Client) -> None:
    owns = resource.write is Role.USER
    refusal, status = ("not_owner" if owns else "role"), 403
    if issubclass(resource.model, Private):
        # To others it is not there.
        refusal, status = "not_found", 404
    path = f"{resource.path}/{make(resource.model, created_by_id=user.user.id).id}"
    for method in ("PUT", "PATCH"):
        refused = other.call(method, path, json={}, expect=status)
        assert refused["data"]["reason"] == refusal
        user.call(method, path, json={}, expect=200 if owns else 403)
        admin.call(method, path, json={})
    assert other.call("DELETE", path, expect=status)["data"]["reason"] == refusal
    assert admin.call("GET", path)["data"]["version"] == 1
    (user if owns else admin).call("DELETE", path)
    nobodys = f"{resource.path}/{make(resource.model).id}"
    user.call("DELETE", nobodys, expect=status)
    admin.call("DELETE", nobodys)


@each_readable
def test_there_is_nothing_else_to_do(resource: Resource, admin: Client) -> None:
    """Another method is a 405 that says which there are, also to those who may do everything."""
    one = {"GET"} if resource is audit_logs else {"GET", "PUT", "PATCH", "DELETE"}
    listed = {"GET"} if resource is audit_logs else {"GET", "POST"}
    for path, methods in ((resource.path, listed), (f"{resource.path}/1", one)):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            response = admin.send(method, path, expect=405)
            assert methods <= set(response.headers["Allow"].split(", "))


def test_what_does_not_exist_is_a_404(admin: Client, anonymous: Client) -> None:
    for path in ("/api", "/api/nonsense", "/api/servers/", "/api/servers/x", "/api/servers/-1", "/api/%FF"):
        for client in (admin, anonymous):
            assert client.call("GET", path, expect=404)["data"]["reason"] == "not_found"


@each_readable
def test_no_such_object(resource: Resource, admin: Client) -> None:
    methods = ("GET",) if resource is audit_logs else ("GET", "PUT", "PATCH", "DELETE")
    for identity in ("0", "987654321", "9223372036854775807", "9223372036854775808", "9" * 200):
        for method in methods:
            options = {"json": {}} if method in ("PUT", "PATCH") else {}
            data = admin.call(method, f"{resource.path}/{identity}", expect=404, **options)["data"]
            assert data["reason"] == "not_found"


@each_resource
def test_a_number_that_is_no_id_is_refused_to_users_too(resource: Resource, user: Client) -> None:
    """What is refused is recorded, and the record could not hold such a number."""
    for method in ("PUT", "PATCH", "DELETE"):
        options = {"json": {}} if method in ("PUT", "PATCH") else {}
        user.call(method, f"{resource.path}/{'9' * 30}", expect=404, **options)
