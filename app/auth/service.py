"""Signing in, and what people do with their own account. Every answer to a failed login is the same."""

import secrets
from collections.abc import Mapping
from typing import Any

import bcrypt
import sqlalchemy as sa
from flask import current_app

from app.auth import addresses, lockout, sessions
from app.core.audit import recorder
from app.core.db.unit_of_work import db, writing
from app.core.errors import Forbidden, Invalid, Unauthorized
from app.core.http.access import Actor, act_as, current_actor
from app.users.models import User
from app.users.passwords import MAX_PASSWORD, password_flaws


class WrongCredentials(Unauthorized):
    """Unknown, wrong, locked and inactive look the same."""

    reason, message = "wrong_credentials", "The username or the password is wrong."


class RegistrationClosed(Forbidden):
    reason, message = "registration_closed", "Accounts are made by administrators here."


def register(values: Mapping[str, Any]) -> User:
    """Make an account; raises RegistrationClosed and, for a name that is taken, what the database says."""
    if not current_app.config["REGISTRATION_ENABLED"]:
        raise RegistrationClosed()
    user = User(**values)
    db.session.add(user)
    db.session.flush()
    return user


def log_in(identifier: str, password: str) -> dict[str, Any]:
    """Begin a session; raises WrongCredentials.

    The attempt is counted before the password is looked at, and the hash is computed outside of transactions.
    """
    with writing():
        attempt = lockout.count_attempt(identifier)
    # Somebody who does not exist takes as long as somebody who does.
    hashed = attempt.password_hash if attempt is not None else None
    right = _matches(password, hashed or _decoy())
    if attempt is None or not right or not attempt.is_active or not lockout.let_in(attempt):
        db.session.rollback()
        with writing():
            lockout.record_failure(identifier, has_locked=attempt is not None and attempt.locked_until is not None)
        raise WrongCredentials()
    session_id, tokens = sessions.begin(attempt.id, attempt.password_version)
    act_as(Actor(id=attempt.id, username=attempt.username, role=attempt.role, session_id=session_id))
    recorder.record("login", "users", attempt.id, attempt.username)
    addresses.note_login(attempt.id, attempt.username, attempt.email)
    return tokens


def change_password(current_password: str, new_password: str) -> None:
    """Replace the acting user's password and end their other sessions; raises Invalid."""
    actor = current_actor()
    user = db.session.get_one(User, actor.id, with_for_update=True)
    if not _matches(current_password, user.password_hash or _decoy()):
        raise Invalid(errors={"current_password": ["Is not your current password."]})
    flaws = password_flaws(new_password, user.username)
    if flaws:
        raise Invalid(errors={"new_password": flaws})
    user.password = new_password
    db.session.flush()
    sessions.end_all(user.id, but=actor.session_id)
    kept = sa.update(sessions.sessions).where(sessions.sessions.c.id == actor.session_id)
    db.session.execute(kept.values(password_version=user.password_version))


def _matches(password: str, hashed: str) -> bool:
    encoded = password.encode(errors="replace")
    # bcrypt refuses longer ones; the comparison is made all the same, for its time.
    return (
        bcrypt.checkpw(encoded[:MAX_PASSWORD].replace(b"\x00", b"?"), hashed.encode()) and len(encoded) <= MAX_PASSWORD
    )


def _decoy() -> str:
    """A hash of nobody's password, as costly as everybody's."""
    app = current_app
    if "decoy_hash" not in app.extensions:
        salt = bcrypt.gensalt(app.config["BCRYPT_ROUNDS"])
        app.extensions["decoy_hash"] = bcrypt.hashpw(secrets.token_bytes(16).hex().encode(), salt).decode()
    decoy: str = app.extensions["decoy_hash"]
    return decoy
