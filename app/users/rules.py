"""What must hold of users, whatever path a change comes by: nobody locks everybody out, or raises themselves."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Forbidden
from app.core.http.access import Role, actor_or_none
from app.users.models import User


class LastAdmin(Conflict):
    reason, message = "last_admin", "There must be at least one active administrator."


@event.listens_for(Session, "before_flush")
def _keep_users_safe(session: Session, _context: Any, _instances: Any) -> None:
    demoted = [user for user in session.dirty if isinstance(user, User) and _loses_power(user)]
    deleted = [user for user in session.deleted if isinstance(user, User)]
    actor = actor_or_none()
    for user in (*demoted, *deleted):
        if actor is not None and user.id == actor.id:
            raise Forbidden("Nobody can demote, deactivate or delete themselves.", reason="yourself")
    if demoted or deleted:
        _require_another_admin(session, [user.id for user in (*demoted, *deleted)])


def _loses_power(user: User) -> bool:
    state = sa.inspect(user)
    was_admin = Role.ADMIN in (state.attrs.role.history.deleted or [user.role])
    was_active = True in (state.attrs.is_active.history.deleted or [user.is_active])
    return was_admin and was_active and not (user.role is Role.ADMIN and user.is_active)


def _require_another_admin(session: Session, leaving: list[int]) -> None:
    users = User.__table__
    admins = sa.select(users.c.id).where(users.c.role == Role.ADMIN, users.c.is_active)
    # Locked in the order of their ids, so that two administrators cannot remove each other at once.
    with session.no_autoflush:
        active = session.scalars(admins.order_by(users.c.id).with_for_update()).all()
    if set(active) <= set(leaving):
        raise LastAdmin()
