"""Signing in and out, and who I am."""

from typing import Any

from flask import Response

from app.auth import service
from app.auth.schemas import (
    ChangePasswordSchema,
    LoginResultSchema,
    LoginSchema,
    ProfileSchema,
    TokensSchema,
)
from app.core.api import Blueprint
from app.core.audit import audited
from app.core.database import db
from app.core.envelope import FailureSchema
from app.core.security import Role, current_actor, public, requires, requires_refresh_token
from app.resource.routes import answer
from app.resource.service import read, update
from app.users.models import User
from app.users.routes import resource as users
from app.users.schemas import UserSchema

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth", description="Signing in and out")


@blueprint.post("/login")
@public
@blueprint.arguments(LoginSchema)
@blueprint.alt_response(401, schema=FailureSchema, description="Unknown, wrong, locked or inactive.")
@blueprint.response(200, LoginResultSchema)
def login(body: dict[str, str]) -> dict[str, Any]:
    """Sign in with a username or an e-mail."""
    tokens = service.log_in(body["username"], body["password"])
    return {**tokens, "user": read(users, current_actor().id)}


@blueprint.post("/refresh")
@requires_refresh_token
@blueprint.response(200, TokensSchema)
def refresh() -> dict[str, Any]:
    """Exchange the refresh token, sent as the bearer token, for new tokens."""
    return service.refresh()


@blueprint.post("/logout")
@requires(Role.USER)
@blueprint.response(200)
def logout() -> None:
    """End this session."""
    service.log_out()


@blueprint.get("/me")
@requires(Role.USER)
@blueprint.response(200, UserSchema)
def me() -> Response:
    """Who I am."""
    return answer(users, current_actor().id)


@blueprint.patch("/me")
@requires(Role.USER)
@blueprint.arguments(ProfileSchema(partial=True))
@blueprint.response(200, UserSchema)
def amend_me(body: dict[str, Any]) -> Response:
    """Change what I may change of myself."""
    user = db.session.get_one(User, current_actor().id, with_for_update=True)
    update(users, user, body)
    return answer(users, user.id)


@blueprint.post("/change-password")
@requires(Role.USER)
@blueprint.arguments(ChangePasswordSchema)
@blueprint.response(200)
@audited("password_change")
def change_password(body: dict[str, str]) -> None:
    """Replace my password and end my other sessions."""
    service.change_password(**body)
