"""Whoever is deactivated is out for good: reactivating them revives no session, token or link of before."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.accounts.models import PasswordReset
from app.auth import sessions
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.tokens import service as tokens
from app.users.models import User

resets = PasswordReset.__table__


@event.listens_for(Session, "after_flush")
def _end_what_the_deactivated_have(session: Session, _context: Any) -> None:
    for user in session.dirty:
        if isinstance(user, User) and False in sa.inspect(user).attrs.is_active.history.added:
            sessions.end_all(user.id)
            tokens.revoke_all(user.id)
            void_links(user.id)


def void_links(user_id: int) -> None:
    """Let the links that a user has been sent open nothing any more."""
    unused = sa.update(resets).where(resets.c.user_id == user_id, resets.c.used_at.is_(None))
    db.session.execute(unused.values(used_at=utcnow()))
