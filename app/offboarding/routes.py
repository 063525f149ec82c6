"""`POST /api/users/<id>/transfer` and `/deactivate`, for administrators."""

from typing import Any

from flask import Response

from app.core.audit.recorder import audited
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import success
from app.offboarding import service
from app.offboarding.schemas import DeactivatedSchema, DeactivationSchema, TransferredSchema, TransferSchema
from app.resource import allowed_if, get, get_locked, save
from app.users.models import User
from app.users.routes import resource as users

blueprint = Blueprint("offboarding", __name__, url_prefix="/api/users", description="Offboarding of users")


@blueprint.post("/<int:user_id>/transfer")
@requires(Role.ADMIN)
@blueprint.arguments(TransferSchema)
@blueprint.response(200, TransferredSchema)
@audited("transfer")
def transfer_user(body: dict[str, Any], user_id: int) -> Response:
    """Hand over all that a user owns to another user."""
    counts = service.transfer(get_locked(users, user_id), body["to"])
    gpus = service.held_gpus(user_id, release=body["release_gpus"])
    return success({"counts": counts, "gpus": gpus})


@blueprint.post("/<int:user_id>/deactivate")
@requires(Role.ADMIN)
@allowed_if(lambda actor, user: not User.is_protected_from(actor.id, user.id))
@blueprint.arguments(DeactivationSchema)
@blueprint.response(200, DeactivatedSchema)
def deactivate_user(body: dict[str, bool], user_id: int) -> Response:
    """Deactivate a user; says which GPUs the user holds, and releases them on request."""
    user = get(users, user_id, to_change=True)
    user.is_active = False
    save(users, user)
    gpus = service.held_gpus(user_id, release=body["release_gpus"])
    return success({"user": {"id": user_id, "name": user.username}, "gpus": gpus})
