"""Routes for administrators of accounts, and the reset of a password by a link."""

from flask import Response

from app.accounts import service
from app.accounts.schemas import ForgottenPasswordSchema, LinkOwnerSchema, ResetLinkSchema, ResetPasswordSchema
from app.auth import sessions
from app.auth.schemas import SessionSchema
from app.core.audit import recorder
from app.core.http.access import Role, public, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.http.limits.rate_limiter import limited_by_address
from app.core.http.paging import PageSchema
from app.resource import answer
from app.tokens import service as tokens
from app.tokens.schemas import TokenSchema
from app.users.routes import resource as users
from app.users.schemas import UserSchema

blueprint = Blueprint("accounts", __name__, url_prefix="/api", description="Account administration")


@blueprint.post("/auth/forgotten-password")
@limited_by_address
@public
@blueprint.arguments(ForgottenPasswordSchema)
@blueprint.response(202)
def request_reset_link(body: dict[str, str]) -> None:
    """Ask for a link to set a new password; it is mailed if there is such an account, which the answer does not say."""
    service.request_reset_link(body["username"])


@blueprint.post("/auth/reset-link")
@limited_by_address
@public
@blueprint.arguments(ResetLinkSchema)
@blueprint.response(200, LinkOwnerSchema)
def get_link_owner(body: dict[str, str]) -> dict[str, str]:
    """Show whose password the token of a reset link sets. The token is not in the address, which servers log."""
    return {"username": service.owner_of_link(body["token"])}


@blueprint.post("/auth/reset-password")
@limited_by_address
@public
@blueprint.arguments(ResetPasswordSchema)
@blueprint.response(200)
@recorder.audited("password_change")
def reset_password(body: dict[str, str]) -> None:
    """Set a new password with the token of a reset link; ends all sessions."""
    service.reset_password(**body)


@blueprint.post("/users/<int:user_id>/reset-password")
@requires(Role.ADMIN, in_person=True)
@blueprint.response(202)
def send_reset_link(user_id: int) -> None:
    """Mail a user a link to set a new password; it works once, within two hours."""
    service.send_reset_link(user_id)


@blueprint.post("/users/<int:user_id>/unlock")
@requires(Role.ADMIN, in_person=True)
@blueprint.response(200, UserSchema)
def unlock_user(user_id: int) -> Response:
    """Unlock an account that wrong passwords have locked."""
    service.unlock(user_id)
    return answer(users, user_id)


@blueprint.get("/users/<int:user_id>/sessions")
@requires(Role.ADMIN, in_person=True)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, SessionSchema, many=True)
def list_user_sessions(query: dict[str, int], user_id: int) -> Page:
    """List a user's sessions, the latest used first."""
    return sessions.select_sessions(service.get_user(user_id).id, **query)


@blueprint.delete("/users/<int:user_id>/sessions")
@requires(Role.ADMIN, in_person=True)
@blueprint.response(200)
def end_user_sessions(user_id: int) -> None:
    """End all sessions of a user."""
    user = service.get_user(user_id)
    sessions.end_all(user.id)
    recorder.record("logout", "users", user.id, user.username)


@blueprint.delete("/users/<int:user_id>/sessions/<string:session_id>")
@requires(Role.ADMIN, in_person=True)
@blueprint.response(200)
def end_user_session(user_id: int, session_id: str) -> None:
    """End one session of a user."""
    sessions.end(service.get_user(user_id).id, session_id)


@blueprint.get("/users/<int:user_id>/tokens")
@requires(Role.ADMIN, in_person=True)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, TokenSchema, many=True)
def list_user_tokens(query: dict[str, int], user_id: int) -> Page:
    """List a user's personal access tokens, the latest first."""
    return tokens.select_tokens(service.get_user(user_id).id, **query)


@blueprint.delete("/users/<int:user_id>/tokens/<int:token_id>")
@requires(Role.ADMIN, in_person=True)
@blueprint.response(200)
def revoke_user_token(user_id: int, token_id: int) -> None:
    """Revoke one of a user's personal access tokens."""
    tokens.revoke(service.get_user(user_id).id, token_id)
