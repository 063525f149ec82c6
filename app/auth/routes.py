"""Signing in and out, and who I am."""

from typing import Any

from flask import Response

from app.auth import exchange, service, sessions
from app.auth.schemas import (
    ChangePasswordSchema,
    LoginResultSchema,
    LoginSchema,
    LogoutSchema,
    ProfileSchema,
    RegistrationSchema,
    SessionSchema,
    TokensSchema,
)
from app.core.audit.recorder import audited
from app.core.db.unit_of_work import db
from app.core.http.access import Role, current_actor, public, requires, requires_refresh_token
from app.core.http.api import Blueprint
from app.core.http.envelope import FailureSchema, Page
from app.core.http.paging import PageSchema
from app.core.http.rate_limits import limited_by_address
from app.resource.routes import answer
from app.resource.service import read, update
from app.users.models import User
from app.users.routes import resource as users
from app.users.schemas import UserSchema

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth", description="Signing in and out")


@blueprint.post("/register")
@limited_by_address
@public
@blueprint.arguments(RegistrationSchema)
@blueprint.alt_response(403, schema=FailureSchema, description="Administrators make the accounts here.")
@blueprint.response(201, UserSchema)
def register(body: dict[str, Any]) -> Response:
    """Make an account, where REGISTRATION_ENABLED says that anybody may."""
    return answer(users, service.register(body).id, 201)


@blueprint.post("/login")
@limited_by_address
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
    return exchange.exchange()


@blueprint.post("/logout")
@requires(Role.USER, in_person=True)
@blueprint.arguments(LogoutSchema, location="query")
@blueprint.response(200)
def logout(query: dict[str, bool]) -> None:
    """End this session, or all of mine."""
    sessions.log_out(**query)


@blueprint.get("/sessions")
@requires(Role.USER, in_person=True)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, SessionSchema, many=True)
def list_sessions(query: dict[str, int]) -> Page:
    """Where I am signed in, the latest used first."""
    return sessions.select_sessions(current_actor().id, **query)


@blueprint.delete("/sessions/<string:session_id>")
@requires(Role.USER, in_person=True)
@blueprint.response(200)
def end_session(session_id: str) -> None:
    """End one of my sessions at once."""
    sessions.end(current_actor().id, session_id)


@blueprint.get("/me")
@requires(Role.USER)
@blueprint.response(200, UserSchema)
def me() -> Response:
    """Who I am."""
    return answer(users, current_actor().id)


@blueprint.patch("/me")
@requires(Role.USER, in_person=True)
@blueprint.arguments(ProfileSchema(partial=True))
@blueprint.response(200, UserSchema)
def amend_me(body: dict[str, Any]) -> Response:
    """Change what I may change of myself."""
    user = db.session.get_one(User, current_actor().id, with_for_update=True)
    update(users, user, body)
    return answer(users, user.id)


@blueprint.post("/change-password")
@limited_by_address
@requires(Role.USER, in_person=True)
@blueprint.arguments(ChangePasswordSchema)
@blueprint.response(200)
@audited("password_change")
def change_password(body: dict[str, str]) -> None:
    """Replace my password and end my other sessions."""
    service.change_password(**body)
