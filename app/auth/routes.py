"""Routes of login, refresh, logout, sessions and one's own account."""

from typing import Any

from flask import Response

from app.auth import refresh_rotation, service, sessions
from app.auth.schemas import (
    AccountSchema,
    BrowserSessionSchema,
    BrowserSignedInSchema,
    ChangePasswordSchema,
    LoginSchema,
    LogoutSchema,
    ProfileSchema,
    RegistrationSchema,
    SessionSchema,
    SignedInSchema,
    TokensSchema,
)
from app.core.audit.recorder import audited
from app.core.http.access import Role, bearer_token, current_actor, public, requires, requires_refresh_token
from app.core.http.api import Blueprint
from app.core.http.dry_run import without_dry_run
from app.core.http.envelope import Page, success
from app.core.http.limits.rate_limiter import limited_by_address
from app.core.http.openapi.failures import FailureSchema
from app.core.http.paging import PageSchema
from app.core.http.session_cookies import clear_cookies, same_origin, set_cookies
from app.resource import Resource, Sent, answer, answer_if_changed, read, set_fields
from app.users.models import User

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth", description="Authentication")

account = Resource(model=User, schema=AccountSchema, titles=("Account", "账户"))


@blueprint.post("/register")
@limited_by_address
@public
@service.if_registration_is_open
@blueprint.arguments(RegistrationSchema)
@blueprint.alt_response(403, schema=FailureSchema, description="Registration is closed.")
@blueprint.response(201, AccountSchema, headers=["Location"])
def register(body: dict[str, Any]) -> Response:
    """Register an account, if REGISTRATION_ENABLED allows it."""
    return answer(account, service.register(body).id, 201)


@blueprint.post("/login")
@without_dry_run
@limited_by_address
@public
@blueprint.arguments(LoginSchema)
@blueprint.alt_response(
    401, schema=FailureSchema, description="Unknown user, wrong password, locked or inactive account."
)
@blueprint.response(200, SignedInSchema)
def login(body: dict[str, str]) -> dict[str, Any]:
    """Log in with a username or an e-mail address."""
    tokens = service.log_in(body["username"], body["password"])
    return {**tokens, "user": read(account, current_actor().id)}


@blueprint.post("/refresh")
@without_dry_run
@requires_refresh_token
@blueprint.response(200, TokensSchema)
def refresh() -> dict[str, Any]:
    """Exchange a refresh token, sent as the bearer token, for new tokens."""
    return refresh_rotation.rotate()


@blueprint.post("/browser/login")
@without_dry_run
@limited_by_address
@public
@same_origin
@blueprint.arguments(LoginSchema)
@blueprint.alt_response(
    401, schema=FailureSchema, description="Unknown user, wrong password, locked or inactive account."
)
@blueprint.alt_response(403, schema=FailureSchema, description="Not sent by a page of this origin.")
@blueprint.response(200, BrowserSignedInSchema, headers=["Set-Cookie"])
def log_in_browser(body: dict[str, str]) -> Response:
    """Log in from a page of this origin, which gets cookies instead of tokens."""
    tokens = service.log_in(body["username"], body["password"])
    response = success({"expires_in": tokens["expires_in"], "user": read(account, current_actor().id)})
    set_cookies(response, tokens)
    return response


@blueprint.post("/browser/refresh")
@without_dry_run
@requires_refresh_token
@same_origin
@blueprint.response(200, BrowserSessionSchema, headers=["Set-Cookie"])
@blueprint.doc(security=[{"refresh_cookie": []}])
def refresh_browser() -> Response:
    """Renew the cookies. Of simultaneous requests one sets them for all tabs; the others are answered after it."""
    tokens = refresh_rotation.rotate_or_wait()
    response = success({"expires_in": sessions.access_seconds()})
    if tokens is not None:
        set_cookies(response, tokens)
    return response


@blueprint.post("/logout")
@requires(Role.USER, in_person=True)
@blueprint.arguments(LogoutSchema, location="query")
@blueprint.response(200, headers=["Set-Cookie"])
def logout(query: dict[str, bool]) -> Response:
    """Log out of this session, or of all my sessions. A session by cookie also loses its cookies."""
    sessions.log_out(**query)
    response = success(None)
    if bearer_token() is None:
        clear_cookies(response)
    return response


@blueprint.get("/sessions")
@requires(Role.USER, in_person=True)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, SessionSchema, many=True)
def list_my_sessions(query: dict[str, int]) -> Page:
    """List my sessions, the latest used first."""
    return sessions.select_sessions(current_actor().id, **query)


@blueprint.delete("/sessions/<string:session_id>")
@requires(Role.USER, in_person=True)
@blueprint.response(200)
def end_my_session(session_id: str) -> None:
    """End one of my sessions."""
    sessions.end(current_actor().id, session_id)


@blueprint.get("/me")
@requires(Role.USER)
@blueprint.response(200, AccountSchema)
def get_me() -> Response:
    """Show my account."""
    return answer_if_changed(account, current_actor().id)


@blueprint.patch("/me")
@limited_by_address
@requires(Role.USER, in_person=True)
@blueprint.arguments(ProfileSchema.change()(partial=True))
@blueprint.response(200, AccountSchema)
def update_me(body: Sent) -> Response:
    """Update my account. A new e-mail address needs `current_password`; a mail about it goes to the old one."""
    user = service.get_own_account(body, body.pop("current_password", None))
    set_fields(account, user, body)
    return answer(account, user.id)


@blueprint.post("/change-password")
@limited_by_address
@requires(Role.USER, in_person=True)
@blueprint.arguments(ChangePasswordSchema)
@blueprint.response(200)
@audited("password_change")
def change_password(body: dict[str, str]) -> None:
    """Change my password and end my other sessions."""
    service.change_password(**body)
