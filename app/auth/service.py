"""Signing in, staying signed in, signing out. Every answer to a failed login is the same."""

import secrets
from datetime import timedelta
from typing import Any

import bcrypt
import sqlalchemy as sa
from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token, get_jwt

from app.auth.models import AuthSession
from app.core import audit
from app.core.database import commit_now, db, fold, utcnow
from app.core.errors import Invalid, Unauthorized
from app.core.origin import current_origin
from app.core.security import Actor, act_as, current_actor, jwt
from app.resource.schema import clean_text
from app.users.models import MAX_PASSWORD, User, password_flaws

MAX_FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)

users = User.__table__
sessions = AuthSession.__table__


class WrongCredentials(Unauthorized):
    """Unknown, wrong, locked and inactive look the same."""

    reason, message = "wrong_credentials", "The username or the password is wrong."


class SessionOver(Unauthorized):
    reason, message = "token_revoked", "The session has ended. Please sign in again."


# What every request asks of the database before it does anything else, as one statement built once.
_WHO = (
    sa.select(users.c.id, users.c.username, users.c.role)
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(
        sessions.c.id == sa.bindparam("session", type_=sa.String),
        sessions.c.ended_at.is_(None),
        sessions.c.password_version == users.c.password_version,
        users.c.is_active,
    )
)


@jwt.user_lookup_loader
def who_is(_header: dict[str, Any], claims: dict[str, Any]) -> Actor:
    """The user of a token, while the session that issued it lasts; raises SessionOver."""
    session_id = str(claims.get("sid", ""))
    row = db.session.execute(_WHO, {"session": session_id}).one_or_none()
    if row is None or str(row.id) != claims["sub"]:
        raise SessionOver()
    return Actor(
        id=row.id,
        username=row.username,
        role=row.role,
        session_id=session_id,
        token_id=claims["jti"],
    )


def log_in(identifier: str, password: str) -> dict[str, Any]:
    """Begin a session; raises WrongCredentials. The attempt counts before the password is looked at."""
    attempt = _count_attempt(identifier)
    commit_now()
    # Somebody who does not exist takes as long as somebody who does.
    hashed = attempt.password_hash if attempt is not None else _decoy()
    right = _matches(password, hashed)
    if attempt is None or not right or not attempt.is_active:
        _record_failure(identifier, attempt)
        commit_now()
        raise WrongCredentials()
    now = utcnow()
    origin = current_origin()
    cleared = {
        "failed_login_attempts": 0,
        "locked_until": None,
        "last_login_at": now,
        "last_login_ip": origin.ip_address,
    }
    db.session.execute(sa.update(users).where(users.c.id == attempt.id).values(cleared))
    session = AuthSession(
        id=secrets.token_hex(16),
        user_id=attempt.id,
        password_version=attempt.password_version,
        generation=0,
        created_at=now,
        last_used_at=now,
        expires_at=now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
        ip_address=origin.ip_address,
        user_agent=origin.user_agent,
    )
    db.session.add(session)
    db.session.flush()
    act_as(Actor(id=attempt.id, username=attempt.username, role=attempt.role, session_id=session.id))
    audit.record("login", "users", attempt.id, attempt.username)
    return _tokens(session.user_id, session.id, 0)


def refresh() -> dict[str, Any]:
    """Exchange a refresh token for new tokens; raises SessionOver. One that is used twice ends its session."""
    actor, generation = current_actor(), int(get_jwt()["gen"])
    this = sessions.c.id == actor.session_id
    now = utcnow()
    exchanged = db.session.execute(
        sa.update(sessions)
        .where(this, sessions.c.generation == generation, sessions.c.ended_at.is_(None))
        .values(generation=generation + 1, last_used_at=now, ip_address=current_origin().ip_address)
    )
    if exchanged.rowcount == 1:  # type: ignore[attr-defined]
        assert actor.session_id is not None
        return _tokens(actor.id, actor.session_id, generation + 1)
    # Somebody holds a copy: nobody can tell who is the thief, so both are out.
    db.session.execute(sa.update(sessions).where(this, sessions.c.ended_at.is_(None)).values(ended_at=now))
    audit.record("denied", "users", actor.id, "A refresh token was used twice; its session has ended.")
    commit_now()
    raise SessionOver()


def log_out() -> None:
    """End the session of the request's token."""
    actor = current_actor()
    this = sa.and_(sessions.c.id == actor.session_id, sessions.c.ended_at.is_(None))
    db.session.execute(sa.update(sessions).where(this).values(ended_at=utcnow()))
    audit.record("logout", "users", actor.id, actor.username)


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
    kept = sa.update(sessions).where(sessions.c.id == actor.session_id)
    db.session.execute(kept.values(password_version=user.password_version))


def _count_attempt(identifier: str) -> sa.Row[Any] | None:
    """Count one attempt on the account, unless it is locked or does not exist, in one atomic statement."""
    try:
        name = fold(clean_text(identifier))
    except ValueError:
        return None
    now = utcnow()
    # A lock that has run out is forgiven with the failures that led to it.
    failures = sa.case((users.c.locked_until.is_not(None), 0), else_=users.c.failed_login_attempts) + 1
    statement = (
        sa.update(users)
        .where(
            sa.or_(sa.func.lower(users.c.username) == name, sa.func.lower(users.c.email) == name),
            sa.or_(users.c.locked_until.is_(None), users.c.locked_until <= now),
        )
        .values(
            failed_login_attempts=failures,
            locked_until=sa.case((failures >= MAX_FAILURES, now + LOCKED_FOR), else_=None),
        )
        .returning(
            users.c.id,
            users.c.username,
            users.c.role,
            users.c.is_active,
            users.c.password_hash,
            users.c.password_version,
            users.c.locked_until,
        )
    )
    return db.session.execute(statement).one_or_none()


def _record_failure(identifier: str, attempt: sa.Row[Any] | None) -> None:
    name = identifier[:255].replace("\x00", "").encode(errors="replace").decode()
    audit.record("login_failed", "users", attempt.id if attempt else None, name)
    if attempt is not None and attempt.locked_until is not None:
        audit.record("lockout", "users", attempt.id, attempt.username)


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


def _tokens(user_id: int, session_id: str, generation: int) -> dict[str, Any]:
    lifetime: timedelta = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    identity = str(user_id)
    return {
        "access_token": create_access_token(identity, additional_claims={"sid": session_id}),
        "refresh_token": create_refresh_token(identity, additional_claims={"sid": session_id, "gen": generation}),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }
