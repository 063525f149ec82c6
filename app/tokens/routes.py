"""Routes for one's own personal access tokens."""

from typing import Any

from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.http.paging import PageSchema
from app.tokens import service
from app.tokens.schemas import CreatedTokenSchema, NewTokenSchema, TokenSchema

blueprint = Blueprint("tokens", __name__, url_prefix="/api/auth/tokens", description="Personal access tokens")


@blueprint.get("")
@requires(Role.USER, in_person=True)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, TokenSchema, many=True)
def list_my_tokens(query: dict[str, int]) -> Page:
    """List my personal access tokens, the latest first."""
    return service.select_tokens(current_actor().id, **query)


@blueprint.post("")
@requires(Role.USER, in_person=True)
@blueprint.arguments(NewTokenSchema)
@blueprint.response(201, CreatedTokenSchema)
def create_token(body: dict[str, Any]) -> dict[str, Any]:
    """Create a personal access token; only this response shows it."""
    return service.create(current_actor().id, body)


@blueprint.delete("/<int:token_id>")
@requires(Role.USER, in_person=True)
@blueprint.response(200)
def revoke_my_token(token_id: int) -> None:
    """Revoke one of my personal access tokens."""
    service.revoke(current_actor().id, token_id)
