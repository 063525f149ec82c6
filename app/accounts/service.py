"""Unlocking accounts, and resetting passwords by a link that works once and that users or administrators ask for."""

import hashlib
import secrets
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from app.accounts.models import PasswordReset
from app.accounts.rules import void_links
from app.auth import lockout, sessions
from app.core.audit import recorder
from app.core.audit.mac import row_mac
from app.core.db.unit_of_work import db, reading, writing
from app.core.errors import Conflict, Invalid, NotFound
from app.core.http.access import Actor, act_as
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Runner
from app.core.mail import outbox
from app.core.messages import tr
from app.core.values import MAX_ID, utcnow
from app.users.models import User
from app.users.passwords import hash_password, password_errors

LINK_LIFETIME = timedelta(hours=2)
REQUEST_INTERVAL = timedelta(minutes=5)
"""Between two links that are mailed because somebody who is not signed in has asked for them."""

REQUESTED = "accounts.reset_link"
UNKNOWN = 0
"""The id in the job of a request that names no active user."""

resets = PasswordReset.__table__


class UserInactive(Conflict):
    reason, message = "inactive", tr("This user is not active. Activate the account before sending a link.")


class MailOff(Conflict):
    reason, message = "mail_off", tr("This installation sends no mail. Please ask an administrator for a new password.")


class PasswordLinkInvalid(Invalid):
    def __init__(self) -> None:
        message = tr(
            "This link is no longer valid: a link works once, within two hours, and only the latest one. "
            "Please ask for a new one.",
            rule="expired",
        )
        super().__init__(errors={"token": [message]})


def get_user(user_id: int, *, to_change: bool = False) -> User:
    """The user; raises NotFound."""
    user = db.session.get(User, user_id, with_for_update=to_change or None) if user_id <= MAX_ID else None
    if user is None:
        raise NotFound(tr("There is no user {user_id}.", user_id=user_id))
    return user


def unlock(user_id: int) -> None:
    """Unlock an account that wrong passwords have locked."""
    user = get_user(user_id)
    lockout.unlock(user.id)
    recorder.record("unlock", "users", user.id, user.username)


def send_reset_link(user_id: int) -> None:
    """Mail a user a link to set a new password, because an administrator wants it. Raises UserInactive."""
    user = get_user(user_id, to_change=True)
    if not user.is_active:
        raise UserInactive()
    _mail_link(user, is_requested=False)


def request_reset_link(identifier: str) -> None:
    """Mail a link to the user of this name or address, if there is one, from a job. Raises MailOff.

    The request does the same for every name, so that neither its answer nor its duration tells which accounts exist.
    """
    if not current_app.config["MAIL_SERVER"]:
        raise MailOff()
    user_id = db.session.scalar(sa.select(User.id).where(lockout.login_condition(identifier), User.is_active))
    enqueue(REQUESTED, user_id or UNKNOWN)


def register_jobs(runner: Runner) -> None:
    # Not behind imports, which may take minutes.
    runner.register(REQUESTED, send_requested_link, _give_up, lane="mail")


def send_requested_link(user_id: int) -> None:
    """Job: mail the link that somebody has asked for, unless one was made a moment ago."""
    with writing():
        user = db.session.get(User, user_id, with_for_update=True)
        if user is not None and user.is_active and not _has_new_link(user_id):
            _mail_link(user, is_requested=True)


def _give_up(_user_id: int, _message: str) -> None:
    """The failed job is in the log; its user asks again."""


def _has_new_link(user_id: int) -> bool:
    is_new = sa.and_(resets.c.user_id == user_id, resets.c.created_at > utcnow() - REQUEST_INTERVAL)
    return bool(db.session.scalar(sa.select(sa.exists().where(is_new))))


def _mail_link(user: User, *, is_requested: bool) -> None:
    """Store and mail a new link, which voids earlier ones."""
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
        user.language,
        tr("Set a new password"),
        "password_reset",
        username=user.username,
        is_requested=is_requested,
        token=token,
        hours=int(LINK_LIFETIME.total_seconds() // 3600),
    )


def reset_password(token: str, new_password: str) -> None:
    """Set the password of the user of a link, unlock the account and end its sessions; raises Invalid."""
    with reading():
        username = owner_of_link(token)
    if errors := password_errors(new_password, username):
        raise Invalid(errors={"new_password": errors})
    # Not compared with the old one: a link would answer guesses of it without counting them.
    hashed = hash_password(new_password)
    user = _use_link(token)
    act_as(Actor(id=user.id, username=user.username, role=user.role))
    user.password = hashed
    db.session.flush()
    lockout.unlock(user.id)
    sessions.end_all(user.id)


def owner_of_link(token: str) -> str:
    """The username of the one who may use a link; raises PasswordLinkInvalid."""
    is_unchanged = sa.and_(User.is_active, User.password_version == resets.c.password_version)
    username = db.session.scalar(sa.select(User.username).join(resets).where(_is_valid(token), is_unchanged))
    if username is None:
        raise PasswordLinkInvalid()
    return username


def _is_valid(token: str) -> sa.ColumnElement[bool]:
    return sa.and_(resets.c.token_hash == _hash(token), resets.c.used_at.is_(None), resets.c.expires_at > utcnow())


def _use_link(token: str) -> User:
    """Use a link up, and lock its user; raises PasswordLinkInvalid. Of two concurrent uses, one succeeds."""
    use = sa.update(resets).where(_is_valid(token)).values(used_at=utcnow())
    link = db.session.execute(use.returning(resets.c.user_id, resets.c.password_version)).one_or_none()
    user = None if link is None else db.session.get(User, link.user_id, with_for_update=True)
    if link is None or user is None or not user.is_active or link.password_version != user.password_version:
        raise PasswordLinkInvalid()
    return user


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
