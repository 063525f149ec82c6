"""Who may call what: every route, every method and every kind of caller, with the status that each is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import create_access_token, decode_token

from app.assets.models import Asset
from app.auth.models import AuthSession
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.core.values import utcnow
from app.gpus.models import Gpu
from app.proof.sealer import seal
from app.resource import Private, Resource
from app.services.models import Service
from app.tokens.models import PersonalToken
from app.users.models import User
from tests.client import PASSWORD, BrowserPage, Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.features.conftest import workbook
from tests.images import encoded_image
from tests.openapi import Document, template_of
from tests.spread import any_database

pytestmark = any_database

Expected = Mapping[str, int]

INSIDE = ("owner", "other", "admin", "demoted", "read token", "write token")
"""Those who are let in. The tokens are the owner's; the demoted was an administrator when they signed in."""
OUTSIDE = (
    "anonymous",
    *("deactivated", "expired", "revoked", "refresh token"),
    *("deactivated's token", "expired token", "revoked token"),
)
PAGES = ("owner's page", "other site")
"""Both send the cookies of the owner, who has signed in once more."""
CALLERS = (*INSIDE, "second admin", *OUTSIDE)


def signed_in(statuses: str) -> Expected:
    """The statuses of those INSIDE, in this order; those OUTSIDE are answered 401.

    What one administrator may, every other one may too, also with what is the first one's.
    """
    inside = dict(zip(INSIDE, map(int, statuses.split()), strict=True))
    return {**inside, "second admin": inside["admin"], **dict.fromkeys(OUTSIDE, 401)}


def everybody(status: int) -> Expected:
    return dict.fromkeys(CALLERS, status)


READ = signed_in("200 200 200 200 200 200")
ADMINS_READ = signed_in("403 403 200 403 403 403")
#                           owner other admin demoted read write
CREATE = signed_in("        201   201   201   201    403  201 ")
CREATE_BELOW = signed_in("  201   403   201   403    403  201 ")  # below what the owner created
CHANGE = signed_in("        200   403   200   403    403  200 ")
ADMINS_CREATE = signed_in(" 403   403   201   403    403  403 ")
ADMINS_CHANGE = signed_in(" 403   403   200   403    403  403 ")
# What manages passwords, sessions and tokens is no work for a token, whatever its owner may.
IN_PERSON = signed_in("     200   200   200   200    403  403 ")
OWN_IN_PERSON = signed_in(" 200   404   404   404    403  403 ")
OWN_CHANGE = signed_in("    200   404   200   404    403  200 ")
OWN_READ = signed_in("      200   404   200   404    200  200 ")


def table() -> dict[tuple[str, str], Expected]:
    """The expected status of each caller by method and route."""
    rows: dict[tuple[str, str], Expected] = {
        ("POST", "/api/auth/register"): everybody(403),  # closed by default
        ("POST", "/api/auth/login"): everybody(200),
        ("POST", "/api/auth/reset-password"): everybody(422),  # the link opens nothing
        ("POST", "/api/auth/reset-link"): everybody(422),
        ("POST", "/api/auth/forgotten-password"): everybody(409),  # no mail is sent
        ("GET", "/api/meta/features"): everybody(200),
        ("GET", "/api/health"): everybody(200),
        ("GET", "/api/health/ready"): everybody(200),
        ("GET", "/api/openapi.json"): everybody(200),
        ("GET", "/api/docs"): everybody(200),
        ("GET", "/api/docs/{name}"): everybody(200),
        ("GET", "/api/redoc"): everybody(200),
        ("GET", "/api/redoc/{name}"): everybody(200),
        ("GET", "/"): everybody(200),  # the console
        ("GET", "/{address}"): everybody(200),
        ("GET", "/assets/{name}"): everybody(404),  # their names change
        ("GET", "/metrics"): everybody(200),  # all of them are on this machine
        ("POST", "/api/auth/refresh"): {**everybody(401), "refresh token": 200},
        ("POST", "/api/auth/browser/login"): everybody(403),  # only for pages of our origin
        ("POST", "/api/auth/browser/refresh"): {**everybody(401), "refresh token": 403},
        ("POST", "/api/auth/logout"): IN_PERSON,
        ("GET", "/api/auth/me"): READ,
        ("PATCH", "/api/auth/me"): IN_PERSON,
        ("GET", "/api/auth/me/activity"): READ,
        ("POST", "/api/auth/change-password"): IN_PERSON,
        ("GET", "/api/auth/sessions"): IN_PERSON,
        ("DELETE", "/api/auth/sessions/{session_id}"): OWN_IN_PERSON,
        ("GET", "/api/auth/tokens"): IN_PERSON,
        ("POST", "/api/auth/tokens"): signed_in("201 201 201 201 403 403"),
        ("DELETE", "/api/auth/tokens/{token_id}"): OWN_IN_PERSON,
        ("POST", "/api/users/{user_id}/unlock"): ADMINS_CHANGE,
        ("POST", "/api/users/{user_id}/transfer"): ADMINS_CHANGE,
        ("POST", "/api/users/{user_id}/deactivate"): ADMINS_CHANGE,
        ("POST", "/api/users/{user_id}/reset-password"): signed_in("403 403 202 403 403 403"),
        ("GET", "/api/users/{user_id}/sessions"): ADMINS_READ,
        ("DELETE", "/api/users/{user_id}/sessions"): ADMINS_CHANGE,
        ("DELETE", "/api/users/{user_id}/sessions/{session_id}"): ADMINS_CHANGE,
        ("GET", "/api/users/{user_id}/tokens"): ADMINS_READ,
        ("DELETE", "/api/users/{user_id}/tokens/{token_id}"): ADMINS_CHANGE,
        ("GET", "/api/audit-logs"): ADMINS_READ,
        ("GET", "/api/audit-logs/{object_id}"): ADMINS_READ,
        ("GET", "/api/audit-logs/export"): ADMINS_READ,
        ("POST", "/api/audit-logs/{object_id}/restore"): ADMINS_CHANGE,
        ("GET", "/api/audit-logs/verify"): ADMINS_READ,
        ("GET", "/api/audit-logs/seal"): ADMINS_READ,
        ("GET", "/api/audit-logs/{record_id}/proof"): ADMINS_READ,
        ("GET", "/api/mails"): ADMINS_READ,
        ("POST", "/api/demo"): signed_in("403 403 409 403 403 403"),  # the installation is not empty
        ("GET", "/api/gpus/{gpu_id}/assignments"): READ,
        ("POST", "/api/gpus/{gpu_id}/assign"): signed_in("200 200 200 200 403 200"),  # each to themselves
        ("POST", "/api/gpus/{gpu_id}/extend"): CHANGE,
        ("POST", "/api/gpus/{gpu_id}/release"): CHANGE,  # the owner holds it
        ("POST", "/api/gpus/assign"): signed_in("200 200 200 200 403 200"),
        ("POST", "/api/gpus/extend"): CHANGE,
        ("POST", "/api/gpus/release"): CHANGE,
        ("GET", "/api/gpus/available"): READ,
        ("GET", "/api/gpus/utilization"): READ,
        ("POST", "/api/assets/{asset_id}/image"): CHANGE,
        ("DELETE", "/api/assets/{asset_id}/image"): CHANGE,
        ("POST", "/api/assets/{asset_id}/describe"): signed_in("409 403 409 403 403 409"),  # no provider is configured
        ("POST", "/api/assets/describe"): signed_in("409 409 409 409 403 409"),  # no provider is configured
        ("GET", "/api/uploads/{name}"): READ,
        ("POST", "/api/services/{service_id}/check"): CHANGE,
        ("GET", "/api/services/{service_id}/checks"): READ,
        ("GET", "/api/dashboard"): READ,
        ("GET", "/api/dashboard/growth"): READ,
        ("GET", "/api/meta"): READ,
        ("GET", "/api/servers/tree"): READ,
        ("GET", "/api/search"): READ,
        ("GET", "/api/events"): READ,
        ("POST", "/api/downloads"): signed_in("201 201 201 201 403 201"),
        ("GET", "/api/downloads/{token}"): everybody(404),  # whoever has a valid link is answered as its path would
        ("GET", "/api/export.xlsx"): READ,
        ("GET", "/api/imports"): READ,
        ("POST", "/api/imports"): signed_in("202 202 202 202 403 202"),
        ("GET", "/api/imports/{import_id}"): OWN_READ,
        ("PATCH", "/api/imports/{import_id}"): signed_in("202 404 202 404 403 202"),
        ("GET", "/api/imports/{import_id}/rows"): OWN_READ,
        ("GET", "/api/imports/{import_id}/report.xlsx"): OWN_READ,
        ("GET", "/api/imports/template.xlsx"): READ,
        ("GET", "/api/imports/mappings"): READ,
        ("PATCH", "/api/imports/mappings/{mapping_id}"): signed_in("200 404 404 404 403 200"),
        ("DELETE", "/api/imports/mappings/{mapping_id}"): signed_in("200 404 404 404 403 200"),
        ("GET", "/api/views"): READ,
        ("POST", "/api/views"): signed_in("201 201 201 201 403 201"),
        ("PATCH", "/api/views/{view_id}"): signed_in("200 404 404 404 403 200"),
        ("DELETE", "/api/views/{view_id}"): signed_in("200 404 404 404 403 200"),
        ("POST", "/api/imports/{import_id}/apply"): signed_in("202 404 202 404 403 202"),
        ("POST", "/api/imports/{import_id}/cancel"): signed_in("200 404 200 404 403 200"),
        ("POST", "/api/imports/{import_id}/revert"): signed_in("200 404 200 404 403 200"),
    }
    shared, governed = ("servers", "containers", "services", "gpus", "assets"), ("datacenters", "environments")
    for name in shared:
        rows |= _resource(name, READ, CREATE_BELOW if name in ("services", "gpus") else CREATE, CHANGE)
    for name in governed:
        rows |= _resource(name, READ, ADMINS_CREATE, ADMINS_CHANGE)
    rows |= _private("tasks") | _resource("users", ADMINS_READ, ADMINS_CREATE, ADMINS_CHANGE)
    for name, resource in CATALOG.items():
        if name not in (*shared, *governed, "tasks", "users"):
            rows |= _as_declared(resource)
    return {key: {**_of_pages(*key, row), **row} for key, row in rows.items()}


def _of_pages(method: str, route: str, row: Expected) -> Expected:
    """A page of our origin may what its user may; to one of another site nobody is signed in."""
    nobody = row["anonymous"]
    other = 403 if nobody == 401 and method != "GET" else nobody
    if route.startswith("/api/auth/browser/"):
        return {"owner's page": 200, "other site": 403}
    if route == "/api/auth/refresh":
        # No browser sends it the cookie.
        return dict.fromkeys(PAGES, 401)
    # The owner has changed their password just before.
    has_ended = route == "/api/auth/change-password"
    return {"owner's page": 401 if has_ended else row["owner"], "other site": other}


def _as_declared(resource: Resource) -> dict[tuple[str, str], Expected]:
    """What a resource that nobody has put into the table says of itself."""
    name = resource.path.removeprefix("/api/")
    if issubclass(resource.model, Private):
        return _private(name)
    read = ADMINS_READ if resource.read is Role.ADMIN else READ
    create, change = (ADMINS_CREATE, ADMINS_CHANGE) if resource.write is Role.ADMIN else (CREATE, CHANGE)
    return _resource(name, read, create, change)


def _private(name: str) -> dict[tuple[str, str], Expected]:
    """Others do not find what is there for its creator alone."""
    one = [("GET", f"/api/{name}/{{object_id}}"), ("GET", f"/api/{name}/{{object_id}}/history")]
    return _resource(name, READ, CREATE, OWN_CHANGE) | dict.fromkeys(one, OWN_READ)


def _resource(name: str, read: Expected, create: Expected, change: Expected) -> dict[tuple[str, str], Expected]:
    listed, one = f"/api/{name}", f"/api/{name}/{{object_id}}"
    reads = dict.fromkeys(
        [("GET", path) for path in (listed, one, f"{listed}/facets", f"{listed}/export", f"{one}/history")], read
    )
    many = {
        ("POST", f"{listed}/bulk"): create,
        **{(method, f"{listed}/bulk"): change for method in ("PATCH", "DELETE")},
    }
    single = {("POST", listed): create, **{(method, one): change for method in ("PUT", "PATCH", "DELETE")}}
    return {**reads, **single, **many}


TABLE = table()


@dataclass
class Scene:
    """The callers, and a fresh object of the owner's for each of them."""

    app: Flask
    document: Document
    make: Make
    sign_in: SignIn
    callers: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        owner, admin = self.sign_in(), self.sign_in(role=Role.ADMIN)
        demoted, deactivated, revoked = self.sign_in(role=Role.ADMIN), self.sign_in(), self.sign_in()
        their_token = self.token_of(deactivated, "write")
        admin.call("PATCH", f"/api/users/{demoted.user.id}", json={"role": "user"})
        admin.call("PATCH", f"/api/users/{deactivated.user.id}", json={"is_active": False})
        revoked.call("POST", "/api/auth/logout")
        pair = self.log_in(owner)
        with self.app.app_context():
            claims = {"sid": decode_token(pair["access_token"])["sid"]}
            late = timedelta(seconds=-1)
            expired = create_access_token(str(owner.user.id), expires_delta=late, additional_claims=claims)
        self.callers = {
            "owner": owner,
            "other": self.sign_in(),
            "admin": admin,
            "second admin": self.sign_in(role=Role.ADMIN),
            "demoted": demoted,
            "read token": self.bearer(owner, self.token_of(owner)["token"]),
            "write token": self.bearer(owner, self.token_of(owner, "write")["token"]),
            "anonymous": Client(self.app, self.document),
            "deactivated": deactivated,
            "expired": self.bearer(owner, expired),
            "revoked": revoked,
            "refresh token": self.bearer(owner, pair["refresh_token"]),
            "deactivated's token": self.bearer(deactivated, their_token["token"]),
            "expired token": self.bearer(owner, self.ended_token_of(owner, expires_at=utcnow())),
            "revoked token": self.bearer(owner, self.ended_token_of(owner, revoked_at=utcnow())),
        }
        self.callers |= self.pages(owner.user)

    def pages(self, user: User) -> dict[str, Client]:
        page, other = (BrowserPage(self.app, self.document, user) for _ in PAGES)
        page.log_in()
        other.log_in()
        other.origin = "https://other.example"
        return dict(zip(PAGES, (page, other), strict=True))

    def bearer(self, client: Client, token: str) -> Client:
        return Client(self.app, self.document, token, client.user)

    def log_in(self, client: Client) -> Any:
        credentials = {"username": client.user.username, "password": PASSWORD}
        return Client(self.app, self.document).call("POST", "/api/auth/login", json=credentials)["data"]

    def token_of(self, client: Client, scope: str = "read") -> Any:
        return client.call("POST", "/api/auth/tokens", json={"name": "ci", "scopes": [scope]}, expect=201)["data"]

    def ended_token_of(self, client: Client, **values: Any) -> str:
        created = self.token_of(client, "write")
        table = PersonalToken.__table__
        with self.app.app_context():
            db.session.execute(sa.update(table).where(table.c.id == created["id"]).values(values))
            db.session.commit()
        token: str = created["token"]
        return token

    def latest_session(self, user_id: int) -> str:
        of_user = sa.select(AuthSession.id).where(AuthSession.user_id == user_id)
        with self.app.app_context():
            newest_session = db.session.scalars(of_user.order_by(AuthSession.created_at.desc())).first()
        assert newest_session is not None
        return newest_session

    def request(self, method: str, route: str, caller: Client) -> tuple[str, dict[str, Any]]:
        """A request that is right in all but, perhaps, who sends it: its path and options."""
        if (method, route) in REQUESTS:
            names, options = REQUESTS[method, route](self, caller)
            return route.format(**names), options
        resource = CATALOG.get(route.split("/")[2])
        if resource is None:
            return route, {}
        options = {"json": {}} if method in ("PUT", "PATCH") else {}
        if method == "POST":
            options = {"json": self.make.body(resource, below=self.callers["owner"].user.id)}
        if route.endswith("/bulk") and method == "POST":
            return route, {"json": {"items": [options["json"]]}}
        if "{" not in route and not route.endswith("/bulk"):
            return route, options
        created = self.make(resource.model, created_by_id=self.callers["owner"].user.id)
        if route.endswith("/bulk"):
            return route, {"json": {"items": [{"id": created.id}]}}
        return route.format(object_id=created.id), options


Build = Callable[[Scene, Client], tuple[dict[str, Any], dict[str, Any]]]


def _body(**body: Any) -> Build:
    return lambda _scene, _caller: ({}, {"json": body})


def _own_session(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"]
    scene.log_in(owner)
    return {"session_id": scene.latest_session(owner.user.id)}, {}


def _own_token(scene: Scene, _: Client) -> Any:
    return {"token_id": scene.token_of(scene.callers["owner"])["id"]}, {}


def _account(scene: Scene, _: Client) -> Any:
    """Somebody who has a session and a token that may be ended."""
    target = scene.sign_in()
    names = {"user_id": target.user.id, "session_id": scene.latest_session(target.user.id)}
    return {**names, "token_id": scene.token_of(target)["id"]}, {}


def _record(scene: Scene, _: Client) -> Any:
    with scene.app.app_context():
        return {"object_id": db.session.scalars(sa.select(AuditLog.id)).first()}, {}


def _sealed_record(scene: Scene, caller: Client) -> Any:
    record, options = _record(scene, caller)
    with scene.app.app_context():
        seal()
    return {"record_id": record["object_id"]}, options


def _deletion(scene: Scene, _: Client) -> Any:
    admin, made = scene.callers["admin"], scene.make(CATALOG["servers"].model)
    admin.call("DELETE", f"/api/servers/{made.id}")
    latest = {"resource_type": "servers", "action": "delete", "sort": "-id"}
    return {"object_id": admin.call("GET", "/api/audit-logs", query_string=latest)["data"][0]["id"]}, {}


def _free_gpu(scene: Scene, caller: Client) -> Any:
    user_id = caller.user.id if caller.token or isinstance(caller, BrowserPage) else 1
    return {"gpu_id": scene.make(Gpu, status="available").id}, {"json": {"user_id": user_id}}


def _held_gpu(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"]
    gpu = scene.make(Gpu, status="available")
    owner.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": owner.user.id})
    return {"gpu_id": gpu.id}, {}


def _jointly(of_one: Build, **more: Any) -> Build:
    """The same action on a set, of one GPU here."""

    def of_all(scene: Scene, caller: Client) -> Any:
        parameters, options = of_one(scene, caller)
        return {}, {"json": {**options.get("json", {}), "gpu_ids": [parameters["gpu_id"]], **more}}

    return of_all


def _service(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"].user.id
    return {"service_id": scene.make(Service, created_by_id=owner, health_check="/health").id}, {}


def _asset(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"]
    asset = scene.make(Asset, created_by_id=owner.user.id).id
    shown = owner.call("POST", f"/api/assets/{asset}/image", **_image_form())["data"]
    return {"asset_id": asset, "name": shown["image_url"].removeprefix("/api/uploads/")}, {}


def _image_form() -> dict[str, Any]:
    return {"data": {"file": (BytesIO(encoded_image()), "image.jpg")}}


def _upload() -> dict[str, Any]:
    return {"data": {"file": (BytesIO(workbook(Servers=[("Name",), ("n1",)])), "fleet.xlsx")}}


def _own_import(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"]
    created = owner.call("POST", "/api/imports", expect=202, **_upload())["data"]
    runner_of(owner.app).run_pending()
    return {"import_id": created["id"]}, {}


def _named_view() -> dict[str, str]:
    return {"resource": "servers", "name": uuid4().hex, "query": "status=active"}


def _own_view(scene: Scene, _: Client) -> Any:
    created = scene.callers["owner"].call("POST", "/api/views", expect=201, json=_named_view())["data"]
    return {"view_id": created["id"]}, {}


def _changed_view(scene: Scene, caller: Client) -> Any:
    return _own_view(scene, caller)[0], {"json": {"shared": False}}


def _own_mapping(scene: Scene, _: Client) -> Any:
    owner = scene.callers["owner"]
    form = {**_upload()["data"], "mapping": '{"x": "name"}', "remember": "mine"}
    owner.call("POST", "/api/imports", expect=202, data=form)
    return {"mapping_id": owner.call("GET", "/api/imports/mappings")["data"][0]["id"]}, {}


def _shareable_mapping(scene: Scene, caller: Client) -> Any:
    return _own_mapping(scene, caller)[0], {"json": {"shared": False}}


def _own_applied(scene: Scene, _: Client) -> Any:
    form = {**_upload()["data"], "apply": "true"}
    owner = scene.callers["owner"]
    created = owner.call("POST", "/api/imports", expect=202, data=form)["data"]
    runner_of(owner.app).run_pending()
    return {"import_id": created["id"]}, {}


def _own_plan(scene: Scene, caller: Client) -> Any:
    return _own_import(scene, caller)[0], {"json": {}}


def _facets(*_: Any) -> Any:
    return {}, {"query_string": {"fields": "created_by"}}


REQUESTS: dict[tuple[str, str], Build] = {
    ("POST", "/api/auth/register"): _body(username="newcomer", email="new@example.com", password=PASSWORD),
    ("POST", "/api/auth/reset-password"): _body(token="none", new_password="a new long password"),
    ("POST", "/api/auth/reset-link"): _body(token="none"),
    ("POST", "/api/auth/forgotten-password"): _body(username="somebody"),
    ("POST", "/api/auth/login"): lambda scene, _: (
        {},
        {"json": {"username": scene.callers["owner"].user.username, "password": PASSWORD}},
    ),
    ("POST", "/api/auth/browser/login"): lambda scene, _: (
        {},
        {"json": {"username": scene.callers["owner"].user.username, "password": PASSWORD}},
    ),
    ("PATCH", "/api/auth/me"): _body(full_name="Somebody"),
    ("POST", "/api/auth/change-password"): _body(current_password=PASSWORD, new_password="a new long password"),
    ("DELETE", "/api/auth/sessions/{session_id}"): _own_session,
    ("POST", "/api/auth/tokens"): _body(name="another"),
    ("DELETE", "/api/auth/tokens/{token_id}"): _own_token,
    **{key: _account for key in TABLE if key[1].startswith("/api/users/{user_id}/")},
    ("POST", "/api/users/{user_id}/transfer"): lambda scene, caller: (
        _account(scene, caller)[0],
        {"json": {"to": scene.callers["owner"].user.id}},
    ),
    ("POST", "/api/users/{user_id}/deactivate"): lambda scene, caller: (_account(scene, caller)[0], {"json": {}}),
    **{key: _facets for key in TABLE if key[1].endswith("/facets")},
    ("GET", "/api/audit-logs/{object_id}"): _record,
    ("GET", "/api/audit-logs/{record_id}/proof"): _sealed_record,
    ("POST", "/api/audit-logs/{object_id}/restore"): _deletion,
    ("GET", "/api/gpus/{gpu_id}/assignments"): _held_gpu,
    ("POST", "/api/gpus/{gpu_id}/assign"): _free_gpu,
    ("POST", "/api/gpus/{gpu_id}/extend"): lambda scene, caller: (
        _held_gpu(scene, caller)[0],
        {"json": {"expires_at": None}},
    ),
    ("POST", "/api/gpus/{gpu_id}/release"): _held_gpu,
    ("POST", "/api/gpus/assign"): _jointly(_free_gpu),
    ("POST", "/api/gpus/extend"): _jointly(_held_gpu, expires_at=None),
    ("POST", "/api/gpus/release"): _jointly(_held_gpu),
    ("GET", "/api/docs/{name}"): lambda *_: ({"name": "start.js"}, {}),
    ("GET", "/api/redoc/{name}"): lambda *_: ({"name": "start.js"}, {}),
    ("POST", "/api/downloads"): _body(path="/api/servers/export"),
    ("GET", "/api/downloads/{token}"): lambda *_: ({"token": "none"}, {}),
    ("GET", "/"): lambda *_: ({}, {}),
    ("GET", "/{address}"): lambda *_: ({"address": "servers"}, {}),
    ("GET", "/assets/{name}"): lambda *_: ({"name": "none.js"}, {}),
    ("GET", "/metrics"): lambda *_: ({}, {}),
    ("GET", "/api/gpus/available"): lambda *_: ({}, {}),
    ("GET", "/api/gpus/utilization"): lambda *_: ({}, {}),
    ("POST", "/api/assets/{asset_id}/image"): lambda scene, caller: (_asset(scene, caller)[0], _image_form()),
    ("DELETE", "/api/assets/{asset_id}/image"): _asset,
    ("POST", "/api/assets/{asset_id}/describe"): _asset,
    ("POST", "/api/assets/describe"): lambda *_: ({}, _image_form()),
    ("GET", "/api/uploads/{name}"): _asset,
    ("POST", "/api/services/{service_id}/check"): _service,
    ("GET", "/api/services/{service_id}/checks"): _service,
    ("GET", "/api/servers/tree"): lambda *_: ({}, {}),
    ("GET", "/api/search"): lambda *_: ({}, {"query_string": {"q": "some"}}),
    ("POST", "/api/imports"): lambda *_: ({}, _upload()),
    ("GET", "/api/imports/{import_id}"): _own_import,
    ("GET", "/api/imports/{import_id}/rows"): _own_import,
    ("GET", "/api/imports/{import_id}/report.xlsx"): _own_import,
    ("PATCH", "/api/imports/mappings/{mapping_id}"): _shareable_mapping,
    ("DELETE", "/api/imports/mappings/{mapping_id}"): _own_mapping,
    ("POST", "/api/views"): lambda *_: ({}, {"json": _named_view()}),
    ("PATCH", "/api/views/{view_id}"): _changed_view,
    ("DELETE", "/api/views/{view_id}"): _own_view,
    ("GET", "/api/imports/template.xlsx"): lambda *_: ({}, {"query_string": {"resource": "servers"}}),
    ("PATCH", "/api/imports/{import_id}"): _own_plan,
    ("POST", "/api/imports/{import_id}/apply"): _own_plan,
    ("POST", "/api/imports/{import_id}/cancel"): _own_import,
    ("POST", "/api/imports/{import_id}/revert"): _own_applied,
}


ENDING = {("POST", "/api/auth/logout"), ("POST", "/api/auth/change-password")}
"""What those INSIDE are not after as they were before."""


def test_every_route_is_in_the_table(app: Flask) -> None:
    routes = {
        (method, template_of(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(TABLE)


def test_each_caller_is_answered_as_the_table_says(app: Flask, document: Document, make: Make, sign_in: SignIn) -> None:
    answered: dict[tuple[str, str], Expected] = {}
    scene = Scene(app, document, make, sign_in)
    for method, route in TABLE:
        answered[method, route] = {
            kind: status_of(caller, method, *scene.request(method, route, caller))
            for kind, caller in scene.callers.items()
        }
        if (method, route) in ENDING:
            scene = Scene(app, document, make, sign_in)
    assert {key: row for key, row in answered.items() if row != TABLE[key]} == {}


OUTSIDE_THE_DOCUMENT = frozenset(
    {
        "/api/openapi.json",
        "/api/docs",
        "/api/docs/start.js",
        "/api/redoc",
        "/api/redoc/start.js",
        "/metrics",
        "/",
        "/servers",
        "/assets/none.js",
    }
)


def status_of(caller: Client, method: str, path: str, options: dict[str, Any]) -> int:
    if path in OUTSIDE_THE_DOCUMENT:
        # No envelope, and not in the document.
        headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        return caller.app.test_client().open(path, method=method, headers=headers, buffered=True).status_code
    return caller.send(method, path, expect=tuple(range(200, 600)), **options).status_code
