"""Sessions: created by a login, prolonged by a refresh, ended by logout, administrators or a changed password."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from app.auth.models import AuthSession
from app.core.audit import recorder
from app.core.audit.mac import row_mac
from app.core.audit.refusals import RefusedRequest, record_refusals
from app.core.db.prepared import Prepared, Question, Rows
from app.core.db.unit_of_work import current_context, db, writing
from app.core.errors import NotFound, RevokedToken
from app.core.http.access import Actor, current_actor
from app.core.http.envelope import Page
from app.core.http.paging import fetch_page
from app.core.messages import tr
from app.core.values import utcnow
from app.users.models import User

users = User.__table__
sessions = AuthSession.__table__


class SessionEnded(RevokedToken):
    message = tr("The session has ended. Please sign in again.")


_VALID = sa.and_(sessions.c.ended_at.is_(None), sessions.c.password_version == users.c.password_version)

_SHOWN = ("id", "ip_address", "user_agent", "created_at", "last_used_at", "expires_at")

# Runs on every request that an access token authenticates.
_USER_OF_SESSION = Prepared(
    sa.select(users.c.id, users.c.username, users.c.role)
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == sa.bindparam("session", type_=sa.String), _VALID, users.c.is_active)
)


def who_asks(claims: Mapping[str, Any]) -> Question[Actor]:
    """Asks for the user of a signed token whose session has not ended; reading the answer raises SessionEnded."""
    session_id = str(claims.get("sid", ""))

    def read(rows: Rows) -> Actor:
        if not rows or str(rows[0][0]) != claims["sub"]:
            _record_use_after_end(session_id, str(claims["jti"]))
            raise SessionEnded()
        user_id, username, role = rows[0]
        return Actor(id=user_id, username=username, role=role, session_id=session_id, token_id=claims["jti"])

    return Question(_USER_OF_SESSION, {"session": session_id}, read)


def create(user_id: int, password_version: int) -> tuple[str, dict[str, Any]]:
    """Create a session; returns its id and its tokens."""
    now = utcnow()
    context = current_context()
    session = {
        "id": secrets.token_hex(16),
        "user_id": user_id,
        "password_version": password_version,
        "generation": 0,
        "created_at": now,
        "last_used_at": now,
        "expires_at": now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
        "ended_at": None,
        "ip_address": context.ip_address,
        "user_agent": context.user_agent,
    }
    db.session.add(AuthSession(**session, mac=row_mac(AuthSession, session)))
    db.session.flush()
    return str(session["id"]), issue_tokens(user_id, str(session["id"]), 0)


def issue_tokens(user_id: int, session_id: str, generation: int) -> dict[str, Any]:
    """New tokens of a session whose refresh token has been rotated `generation` times."""
    identity = str(user_id)
    return {
        "access_token": create_access_token(identity, additional_claims={"sid": session_id}),
        "refresh_token": create_refresh_token(identity, additional_claims={"sid": session_id, "gen": generation}),
        "token_type": "Bearer",
        "expires_in": access_seconds(),
    }


def access_seconds() -> int:
    """The lifetime of an access token."""
    lifetime: timedelta = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    return int(lifetime.total_seconds())


def log_out(*, everywhere: bool) -> None:
    """End the session of the request's token, or all sessions of its user."""
    actor = current_actor()
    end_all(actor.id, only=None if everywhere else actor.session_id)
    recorder.record("logout", "users", actor.id, actor.username)


def select_sessions(user_id: int, page: int, page_size: int) -> Page:
    """A page of a user's valid sessions, the latest used first."""
    current_id = current_actor().session_id
    valid = (
        sa.select(*(sessions.c[name] for name in _SHOWN))
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.user_id == user_id, _VALID, sessions.c.expires_at > utcnow())
        .order_by(sessions.c.last_used_at.desc(), sessions.c.id)
    )
    return fetch_page(valid, page, page_size, lambda row: {**row, "is_current": row["id"] == current_id})


def end(user_id: int, session_id: str) -> None:
    """End one session of a user; raises NotFound."""
    if end_all(user_id, only=session_id) == 0:
        raise NotFound(tr("There is no such session."))
    recorder.record("logout", "users", user_id, f"Session {session_id}")


def end_all(user_id: int, *, only: str | None = None, but: str | None = None) -> int:
    """End all sessions of a user, only one, or all but one; returns how many."""
    conditions = [sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)]
    if only is not None:
        conditions.append(sessions.c.id == only)
    if but is not None:
        conditions.append(sessions.c.id != but)
    return update(*conditions, ended_at=utcnow())


def update(*conditions: sa.ColumnElement[bool], **values: Any) -> int:
    """Change guarded columns of sessions, and their MACs with them; returns how many sessions were changed."""
    changed = sa.update(sessions).where(*conditions).values(values).returning(sessions)
    macs = [
        {"session": row["id"], "new_mac": row_mac(AuthSession, dict(row))}
        for row in db.session.execute(changed).mappings()
    ]
    if macs:
        with_mac = sa.update(sessions).where(sessions.c.id == sa.bindparam("session"))
        db.session.connection().execute(with_mac.values(mac=sa.bindparam("new_mac")), macs)
    return len(macs)


def _record_use_after_end(session_id: str, token_id: str) -> None:
    """Audit the use of a token whose session has ended, attributed to its user, who sees it in their activity."""
    owner = sa.select(users.c.id, users.c.username).join(sessions, sessions.c.user_id == users.c.id)
    user = db.session.execute(owner.where(sessions.c.id == session_id)).one_or_none()
    if user is not None:
        context = replace(current_context(), user_id=user.id, username=user.username, token_id=token_id)
        message = "A token of a session that has ended was used."
        with writing():
            record_refusals([RefusedRequest("users", user.id, message)], route=message, token=token_id, context=context)
