"""Access is declared on every route, and a token is believed only as far as it goes."""

import json
from collections.abc import Mapping
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
from tests.spread import any_database

pytestmark = any_database


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


ODD_CLAIMS: dict[str, dict[str, Any]] = {
    "no expiry": {"exp": None},
    "expiry as text": {"exp": "9999999999"},
    "expiry of another type": {"exp": [9999999999]},
    "endless": {"exp": float("inf")},
    "never": {"exp": float("nan")},
    "not before infinity": {"nbf": float("inf")},
    "issued at nonsense": {"iat": {}},
    "session with NUL": {"sid": "a\x00b"},
    "session of half a surrogate pair": {"sid": "\ud800"},
    "session of another type": {"sid": [1]},
    "session as number": {"sid": 1},
    "long session": {"sid": "a" * 100_000},
    "subject as number": {"sub": 1},
    "no subject": {"sub": None},
    "token id with NUL": {"jti": "a\x00b"},
    "token id of another type": {"jti": {"a": 1}},
    "no token id": {"jti": None},
    "long token id": {"jti": "a" * 1000},
    "kind of another type": {"type": ["access"]},
    "no kind": {"type": None},
    "generation as text": {"gen": "x", "type": "refresh"},
    "no generation": {"gen": None, "type": "refresh"},
    "large generation": {"gen": 10**30, "type": "refresh"},
    "negative expiry": {"exp": -(10**30)},
}


@pytest.mark.parametrize("changes", ODD_CLAIMS.values(), ids=ODD_CLAIMS)
def test_a_signed_token_with_claims_that_we_never_write(
    app: Flask, document: Document, admin: Client, changes: dict[str, Any]
) -> None:
    """Another program may have the key: its tokens are refused, and are no errors of ours."""
    call = ("POST", "/api/auth/refresh") if changes.get("type") == "refresh" else ("GET", "/api/auth/me")
    token = signed(forged(app, admin, **changes), app.config["JWT_SECRET_KEY"])
    Client(app, document, token).call(*call, expect=401)


@pytest.mark.parametrize("missing", ["exp", "sub", "jti", "sid", "gen"])
def test_a_signed_token_without_a_claim(app: Flask, document: Document, admin: Client, missing: str) -> None:
    for kind, call in (("access", ("GET", "/api/auth/me")), ("refresh", ("POST", "/api/auth/refresh"))):
        if (kind, missing) != ("access", "gen"):
            claims = forged(app, admin, type=kind, gen=0)
            del claims[missing]
            token = signed(claims, app.config["JWT_SECRET_KEY"])
            Client(app, document, token).call(*call, expect=401)


def test_a_signed_token_nested_too_deeply(app: Flask, document: Document) -> None:
    token = signed_text('{"a":' * 50_000 + "1" + "}" * 50_000, app.config["JWT_SECRET_KEY"])
    Client(app, document, token).call("GET", "/api/auth/me", expect=401)


def signed(claims: Mapping[str, Any], key: str) -> str:
    return signed_text(json.dumps(claims), key)


def signed_text(payload: str, key: str) -> str:
    """A token with this text in the place of its claims."""
    return jwt.api_jws.encode(payload.encode(), key, algorithm="HS256")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_name_of_the_scheme_may_be_in_any_case(app: Flask, document: Document, admin: Client, scheme: str) -> None:
    sent = {"Authorization": f"{scheme} {admin.token}"}
    Client(app, document).call("GET", "/api/auth/me", headers=sent)


def test_the_role_is_not_taken_from_the_token(app: Flask, document: Document, user: Client) -> None:
    with app.app_context():
        claims = {"sid": decode_token(user.token or "")["sid"], "role": "admin", "is_admin": True}
        token = create_access_token(str(user.user.id), additional_claims=claims)
    Client(app, document, token).call("GET", "/api/users", expect=403)
