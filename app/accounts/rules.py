"""The end of a deactivated user's access: reactivation revives no earlier session, token or link."""

import sqlalchemy as sa
from flask import Flask

from app.accounts.models import PasswordReset
from app.auth import sessions
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.tokens import service as tokens

resets = PasswordReset.__table__


def end_access(user_id: int) -> None:
    """End the sessions, tokens and links of a user who is deactivated."""
    sessions.end_all(user_id)
    tokens.revoke_all(user_id)
    void_links(user_id)


def void_links(user_id: int) -> None:
    """Invalidate the password reset links that a user has been sent."""
    unused = sa.update(resets).where(resets.c.user_id == user_id, resets.c.used_at.is_(None))
    db.session.execute(unused.values(used_at=utcnow()))


def init_app(app: Flask) -> None:
    """Register end_access for the users feature, which lies below this one and so cannot import it."""
    app.extensions["end_access"] = end_access
