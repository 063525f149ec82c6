"""Login, registration, and what else needs a password. All failed logins get the same response, after the same time."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from flask import current_app

from app.auth import known_addresses, lockout, sessions
from app.core.audit import recorder
from app.core.db.unit_of_work import current_context, db, reading, writing
from app.core.errors import Forbidden, Invalid, Unauthorized
from app.core.http.access import Actor, act_as, current_actor
from app.core.messages import tr
from app.core.values import utcnow
from app.users.models import User
from app.users.passwords import hash_password, is_password, password_errors

P = ParamSpec("P")
R = TypeVar("R")

NOT_CURRENT = tr("Is not your current password.", rule="wrong_password")
"""Also while the account is locked: a stolen session must not tell."""


class WrongCredentials(Unauthorized):
    """Does not tell whether the user is unknown, locked or inactive, or the password wrong."""

    reason, message = "wrong_credentials", tr("The username or the password is wrong.")


class RegistrationClosed(Forbidden):
    reason, message = "registration_closed", tr("Registration is closed. Please ask an administrator for an account.")


def if_registration_is_open(view: Callable[P, R]) -> Callable[P, R]:
    """Raise RegistrationClosed before the body is read: to validate it takes a password hash."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if not current_app.config["REGISTRATION_ENABLED"]:
            raise RegistrationClosed()
        return view(*args, **kwargs)

    return guarded


def register(values: Mapping[str, Any]) -> User:
    """Create an account; raises the database's error for a name that is taken."""
    user = User(**values)
    db.session.add(user)
    db.session.flush()
    return user


def log_in(identifier: str, password: str) -> dict[str, Any]:
    """Create a session; raises WrongCredentials.

    The attempt is counted before the password is checked, and the hash (235 ms) is computed outside of transactions.
    """
    attempt = lockout.begin_check(identifier)
    login = {"last_login_at": utcnow(), "last_login_ip": current_context().ip_address}
    if not _is_right(attempt, password) or attempt is None or not lockout.confirm(attempt, **login):
        db.session.rollback()
        with writing():
            lockout.record_failure(identifier, attempt)
        raise WrongCredentials()
    tokens = start_session(attempt)
    known_addresses.register_login(attempt.id, attempt.username, attempt.email, attempt.language)
    return tokens


def start_session(user: User | lockout.Attempt) -> dict[str, Any]:
    """Create a session of a user who may sign in, act as this user from here on, and record the login."""
    session_id, tokens = sessions.create(user.id, user.password_version)
    act_as(Actor(id=user.id, username=user.username, role=user.role, session_id=session_id))
    recorder.record("login", "users", user.id, user.username)
    return tokens


def change_password(current_password: str, new_password: str) -> None:
    """Change the current user's password and end their other sessions; raises Invalid."""
    actor = current_actor()
    attempt = _check_own(current_password)
    errors: dict[str, list[str]] = {} if attempt else {"current_password": [NOT_CURRENT]}
    refused = password_errors(new_password, actor.username)
    if new_password == current_password:
        refused.append(tr("Must differ from your current password.", rule="same_password"))
    if refused:
        errors["new_password"] = refused
    if attempt is None or errors:
        raise Invalid(errors=errors)
    hashed = hash_password(new_password)
    user = _get_unchanged(attempt)
    user.password = hashed
    db.session.flush()
    sessions.end_all(user.id, but=actor.session_id)
    sessions.update(sessions.sessions.c.id == actor.session_id, password_version=user.password_version)


def get_own_account(values: Mapping[str, Any], current_password: str | None) -> User:
    """The current user, locked to be given these values; another e-mail address needs the password. Raises Invalid."""
    user_id = current_actor().id
    with reading():
        email = db.session.scalar(sa.select(User.email).where(User.id == user_id))
    if values.get("email", email) == email:
        return db.session.get_one(User, user_id, with_for_update=True)
    if current_password is None:
        raise Invalid(errors={"current_password": [tr("Is needed to change your e-mail address.", rule="required")]})
    attempt = _check_own(current_password)
    if attempt is None:
        raise Invalid(errors={"current_password": [NOT_CURRENT]})
    return _get_unchanged(attempt)


def _check_own(password: str) -> lockout.Attempt | None:
    """Compare the current user's password as a login does: counted, locked and recorded; None if it is refused."""
    username = current_actor().username
    attempt = lockout.begin_check(username)
    is_right = _is_right(attempt, password)
    with writing():
        if is_right and attempt is not None and lockout.confirm(attempt):
            return attempt
        lockout.record_failure(username, attempt)
    return None


def _is_right(attempt: lockout.Attempt | None, password: str) -> bool:
    """Compare the password of an active account. A hash is computed in any case, for equal time."""
    is_right = is_password(password, None if attempt is None else attempt.password_hash)
    return attempt is not None and is_right and attempt.is_active


def _get_unchanged(attempt: lockout.Attempt) -> User:
    """The user whose password was right, locked; raises Invalid if it has been changed since."""
    user = db.session.get_one(User, attempt.id, with_for_update=True)
    if user.password_version != attempt.password_version:
        raise Invalid(errors={"current_password": [NOT_CURRENT]})
    return user
