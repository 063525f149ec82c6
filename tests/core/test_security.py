"""Access is declared on every route, and a token is believed only as far as it goes."""

from typing import Any

import jwt
import pytest
from flask import Flask
from flask_jwt_extended import create_access_token, decode_token

from app.core.http.access import Role, public, requires
from app.core.http.api import Blueprint
from tests.client import Client
from tests.conftest import SignIn
from tests.openapi import Document


def view() -> None:
    """Do nothing."""


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_a_route_that_declares_no_access_is_not_built(method: str) -> None:
    blueprint = Blueprint("forgotten", __name__, url_prefix="/api/forgotten")
    with pytest.raises(TypeError, match="declares no access"):
        getattr(blueprint, method)("")(view)
    with pytest.raises(TypeError, match="declares no access"):
        getattr(blueprint, method)("")(blueprint.response(200)(view))


@pytest.mark.parametrize("access", [public, requires(Role.USER), requires(Role.ADMIN)])
def test_a_route_that_declares_it_is_built(access: Any) -> None:
    blueprint = Blueprint("decided", __name__, url_prefix="/api/decided")
    assert blueprint.get("")(access(blueprint.response(200)(view)))


def test_roles_cover_each_other() -> None:
    assert Role.ADMIN.covers(Role.USER)
    assert Role.ADMIN.covers(Role.ADMIN)
    assert Role.USER.covers(Role.USER)
    assert not Role.USER.covers(Role.ADMIN)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {token}",
        "{token}",
        "Bearer {token} more",
        "Bearer x{token}",
        "Bearer é",
        "Bearer \x00",
    ],
)
def test_a_header_of_another_form_lets_nobody_in(app: Flask, document: Document, admin: Client, header: str) -> None:
    sent = {"Authorization": header.format(token=admin.token)}
    Client(app, document).call("GET", "/api/auth/me", headers=sent, expect=401)


def test_a_token_travels_in_the_header_only(app: Flask, admin: Client) -> None:
    client = app.test_client()
    client.set_cookie("access_token_cookie", admin.token or "")
    assert client.get("/api/auth/me").status_code == 401
    assert client.get("/api/auth/me", query_string={"jwt": admin.token}).status_code == 401
    assert client.post("/api/auth/logout", json={"access_token": admin.token}).status_code == 401


def forged(app: Flask, admin: Client, **changes: Any) -> dict[str, Any]:
    with app.app_context():
        return {**decode_token(admin.token or ""), **changes}


@pytest.mark.parametrize("key", ["", "another key that is at least 32 bytes long"])
def test_a_token_that_somebody_else_signed(app: Flask, document: Document, admin: Client, key: str) -> None:
    algorithm = "HS256" if key else "none"
    token = jwt.encode(forged(app, admin), key or None, algorithm=algorithm)
    Client(app, document, token).call("GET", "/api/auth/me", expect=401)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_of_another_algorithm(app: Flask, document: Document, admin: Client, algorithm: str) -> None:
    key = app.config["JWT_SECRET_KEY"] + "x" * 32
    token = jwt.encode(forged(app, admin), key, algorithm=algorithm)
    Client(app, document, token).call("GET", "/api/auth/me", expect=401)


def test_a_token_of_one_user_in_the_session_of_another(app: Flask, document: Document, sign_in: SignIn) -> None:
    """Even one that we signed: both must agree."""
    admin, user = sign_in(role=Role.ADMIN), sign_in()
    with app.app_context():
        sid = decode_token(user.token or "")["sid"]
        token = create_access_token(str(admin.user.id), additional_claims={"sid": sid})
        orphan = create_access_token(str(admin.user.id))
        unknown = create_access_token(str(admin.user.id), additional_claims={"sid": "0" * 32})
        odd = create_access_token("nobody", additional_claims={"sid": sid})
    for each in (token, orphan, unknown, odd):
        answer = Client(app, document, each).call("GET", "/api/auth/me", expect=401)
        assert answer["data"]["reason"] == "token_revoked"


def test_the_role_is_not_taken_from_the_token(app: Flask, document: Document, user: Client) -> None:
    with app.app_context():
        claims = {"sid": decode_token(user.token or "")["sid"], "role": "admin", "is_admin": True}
        token = create_access_token(str(user.user.id), additional_claims=claims)
    Client(app, document, token).call("GET", "/api/users", expect=403)
