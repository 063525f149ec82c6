"""Unlocking accounts, and setting forgotten passwords by a link that opens once."""

import hashlib
import secrets
from datetime import timedelta

import sqlalchemy as sa

from app.accounts.models import PasswordReset
from app.accounts.rules import void_links
from app.auth import lockout, sessions
from app.core.audit import recorder
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Invalid, NotFound
from app.core.http.access import Actor, act_as
from app.core.mail import outbox
from app.core.values import MAX_ID, utcnow
from app.users.models import User
from app.users.passwords import password_flaws

LINK_LIVES = timedelta(hours=2)

resets = PasswordReset.__table__


class Inactive(Conflict):
    reason, message = "inactive", "This user is not active, so a new password would open nothing."


def get_user(user_id: int, *, to_change: bool = False) -> User:
    """The user; raises NotFound."""
    user = db.session.get(User, user_id, with_for_update=to_change or None) if user_id <= MAX_ID else None
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


def unlock(user_id: int) -> None:
    """Let a user in again whom wrong passwords have locked out."""
    user = get_user(user_id)
    lockout.forgive(user.id)
    recorder.record("unlock", "users", user.id, user.username)


def send_link(user_id: int) -> None:
    """Send a user a link to set a new password; earlier links open nothing any more. Raises Inactive."""
    user = get_user(user_id, to_change=True)
    if not user.is_active:
        raise Inactive()
    now = utcnow()
    token = secrets.token_urlsafe(32)
    void_links(user.id)
    link = {
        "user_id": user.id,
        "token_hash": _hash(token),
        "password_version": user.password_version,
        "created_at": now,
        "expires_at": now + LINK_LIVES,
    }
    db.session.execute(sa.insert(resets).values(link))
    recorder.record("password_reset", "users", user.id, user.username)
    outbox.post(
        user.email,
        "Set a new password",
        "password_reset",
        username=user.username,
        token=token,
        hours=int(LINK_LIVES.total_seconds() // 3600),
    )


def reset_password(token: str, new_password: str) -> None:
    """Set the password of whoever got the link, open their account and end their sessions; raises Invalid."""
    user_id = db.session.scalar(
        sa.update(resets)
        .where(
            resets.c.token_hash == _hash(token),
            resets.c.used_at.is_(None),
            resets.c.expires_at > utcnow(),
        )
        .values(used_at=utcnow())
        .returning(resets.c.user_id)
    )
    user = None if user_id is None else db.session.get(User, user_id, with_for_update=True)
    issued_under = sa.select(resets.c.password_version).where(resets.c.token_hash == _hash(token))
    if user is None or not user.is_active or db.session.scalar(issued_under) != user.password_version:
        raise Invalid(errors={"token": ["This link is not valid any more."]})
    # An unfit password raises, which rolls the use of the link back with everything else.
    if flaws := password_flaws(new_password, user.username):
        raise Invalid(errors={"new_password": flaws})
    act_as(Actor(id=user.id, username=user.username, role=user.role))
    user.password = new_password
    db.session.flush()
    lockout.forgive(user.id)
    sessions.end_all(user.id)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
