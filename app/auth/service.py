"""Login, registration and change of one's password. All failed logins get the same response, after the same time."""

import secrets
from collections.abc import Mapping
from typing import Any

import bcrypt
from flask import current_app

from app.auth import known_addresses, lockout, sessions
from app.core.audit import recorder
from app.core.db.unit_of_work import db, writing
from app.core.errors import Forbidden, Invalid, Unauthorized
from app.core.http.access import Actor, act_as, current_actor
from app.users.models import User
from app.users.passwords import MAX_PASSWORD_BYTES, password_errors


class WrongCredentials(Unauthorized):
    """Does not tell whether the user is unknown, locked or inactive, or the password wrong."""

    reason, message = "wrong_credentials", "The username or the password is wrong."


class RegistrationClosed(Forbidden):
    reason, message = "registration_closed", "Registration is closed. Please ask an administrator for an account."


def register(values: Mapping[str, Any]) -> User:
    """Create an account; raises RegistrationClosed, and the database's error for a name that is taken."""
    if not current_app.config["REGISTRATION_ENABLED"]:
        raise RegistrationClosed()
    user = User(**values)
    db.session.add(user)
    db.session.flush()
    return user


def log_in(identifier: str, password: str) -> dict[str, Any]:
    """Create a session; raises WrongCredentials.

    The attempt is counted before the password is checked, and the hash (235 ms) is computed outside of transactions.
    """
    with writing():
        attempt = lockout.count_attempt(identifier)
    # A hash is computed in any case, for equal time.
    hashed = attempt.password_hash if attempt is not None else None
    is_right = _matches(password, hashed or _dummy_hash())
    if attempt is None or not is_right or not attempt.is_active or not lockout.confirm_login(attempt):
        db.session.rollback()
        with writing():
            lockout.record_failure(identifier, has_locked=attempt is not None and attempt.locked_until is not None)
        raise WrongCredentials()
    session_id, tokens = sessions.create(attempt.id, attempt.password_version)
    act_as(Actor(id=attempt.id, username=attempt.username, role=attempt.role, session_id=session_id))
    recorder.record("login", "users", attempt.id, attempt.username)
    known_addresses.register_login(attempt.id, attempt.username, attempt.email)
    return tokens


def change_password(current_password: str, new_password: str) -> None:
    """Change the current user's password and end their other sessions; raises Invalid."""
    actor = current_actor()
    user = db.session.get_one(User, actor.id, with_for_update=True)
    errors = {}
    if not _matches(current_password, user.password_hash or _dummy_hash()):
        errors["current_password"] = ["Is not your current password."]
    if refused := password_errors(new_password, user.username):
        errors["new_password"] = refused
    if errors:
        raise Invalid(errors=errors)
    user.password = new_password
    db.session.flush()
    sessions.end_all(user.id, but=actor.session_id)
    sessions.update(sessions.sessions.c.id == actor.session_id, password_version=user.password_version)


def _matches(password: str, hashed: str) -> bool:
    encoded = password.encode(errors="replace")
    # bcrypt refuses more than 72 bytes and NUL; the hash is computed all the same, for equal time.
    return (
        bcrypt.checkpw(encoded[:MAX_PASSWORD_BYTES].replace(b"\x00", b"?"), hashed.encode())
        and len(encoded) <= MAX_PASSWORD_BYTES
    )


def _dummy_hash() -> str:
    """A hash of a random password, of the same cost as the users' hashes."""
    app = current_app
    if "dummy_hash" not in app.extensions:
        salt = bcrypt.gensalt(app.config["BCRYPT_ROUNDS"])
        app.extensions["dummy_hash"] = bcrypt.hashpw(secrets.token_bytes(16).hex().encode(), salt).decode()
    dummy_hash: str = app.extensions["dummy_hash"]
    return dummy_hash
