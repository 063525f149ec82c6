"""Unlocking accounts, and resetting passwords by a link that works once."""

import hashlib
import secrets
from datetime import timedelta

import sqlalchemy as sa

from app.accounts.models import PasswordReset
from app.accounts.rules import void_links
from app.auth import lockout, sessions
from app.core.audit import recorder
from app.core.audit.guarded_state import row_mac
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, Invalid, NotFound
from app.core.http.access import Actor, act_as
from app.core.mail import outbox
from app.core.values import MAX_ID, utcnow
from app.users.models import User
from app.users.passwords import password_errors

LINK_LIFETIME = timedelta(hours=2)

resets = PasswordReset.__table__


class UserInactive(Conflict):
    reason, message = "inactive", "This user is not active. Activate the account before sending a link."


def get_user(user_id: int, *, to_change: bool = False) -> User:
    """The user; raises NotFound."""
    user = db.session.get(User, user_id, with_for_update=to_change or None) if user_id <= MAX_ID else None
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


def unlock(user_id: int) -> None:
    """Unlock an account that wrong passwords have locked."""
    user = get_user(user_id)
    lockout.unlock(user.id)
    recorder.record("unlock", "users", user.id, user.username)


def send_reset_link(user_id: int) -> None:
    """Mail a user a link to set a new password, which voids earlier links. Raises UserInactive."""
    user = get_user(user_id, to_change=True)
    if not user.is_active:
        raise UserInactive()
    now = utcnow()
    token = secrets.token_urlsafe(32)
    void_links(user.id)
    link = {
        "user_id": user.id,
        "token_hash": _hash(token),
        "password_version": user.password_version,
        "created_at": now,
        "expires_at": now + LINK_LIFETIME,
    }
    db.session.execute(sa.insert(resets).values({**link, "mac": row_mac(PasswordReset, link)}))
    recorder.record("password_reset", "users", user.id, user.username)
    outbox.post(
        user.email,
        "Set a new password",
        "password_reset",
        username=user.username,
        token=token,
        hours=int(LINK_LIFETIME.total_seconds() // 3600),
    )


def reset_password(token: str, new_password: str) -> None:
    """Set the password of the user of a link, unlock the account and end its sessions; raises Invalid."""
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
        raise Invalid(errors={"token": ["This link is no longer valid. Please ask an administrator for a new one."]})
    # Raising rolls back the use of the link, so that it can be tried with another password.
    if errors := password_errors(new_password, user.username):
        raise Invalid(errors={"new_password": errors})
    act_as(Actor(id=user.id, username=user.username, role=user.role))
    user.password = new_password
    db.session.flush()
    lockout.unlock(user.id)
    sessions.end_all(user.id)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
