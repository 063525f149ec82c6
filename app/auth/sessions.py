"""Sessions: begun by a login, kept alive by refreshing, over at once when somebody ends them."""

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
from app.core.db.statements import Prepared
from app.core.db.unit_of_work import current_context, db, writing
from app.core.errors import NotFound, Unauthorized
from app.core.http.access import Actor, current_actor, session_reader
from app.core.http.envelope import Page, Pagination
from app.core.values import utcnow
from app.users.models import User

users = User.__table__
sessions = AuthSession.__table__


class SessionOver(Unauthorized):
    reason, message = "token_revoked", "The session has ended. Please sign in again."


_VALID = sa.and_(sessions.c.ended_at.is_(None), sessions.c.password_version == users.c.password_version)

_SHOWN = ("id", "ip_address", "user_agent", "created_at", "last_used_at", "expires_at")

# What every request asks of the database before it does anything else, as one statement built once.
_WHO = Prepared(
    sa.select(users.c.id, users.c.username, users.c.role)
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(sessions.c.id == sa.bindparam("session", type_=sa.String), _VALID, users.c.is_active)
)


@session_reader
def who_is(claims: Mapping[str, Any]) -> Actor:
    """The user of a token, while the session that issued it lasts; raises SessionOver."""
    session_id = str(claims.get("sid", ""))
    found = _WHO.rows({"session": session_id})
    if not found or str(found[0][0]) != claims["sub"]:
        _record_late_use(session_id, str(claims["jti"]))
        raise SessionOver()
    user_id, username, role = found[0]
    return Actor(
        id=user_id,
        username=username,
        role=role,
        session_id=session_id,
        token_id=claims["jti"],
    )


def begin(user_id: int, password_version: int) -> tuple[str, dict[str, Any]]:
    """Begin a session: its id and its tokens."""
    now = utcnow()
    context = current_context()
    session = AuthSession(
        id=secrets.token_hex(16),
        user_id=user_id,
        password_version=password_version,
        generation=0,
        created_at=now,
        last_used_at=now,
        expires_at=now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
        ip_address=context.ip_address,
        user_agent=context.user_agent,
    )
    db.session.add(session)
    db.session.flush()
    return session.id, tokens_of(user_id, session.id, 0)


def tokens_of(user_id: int, session_id: str, generation: int) -> dict[str, Any]:
    """The tokens of a session whose refresh token has been exchanged `generation` times."""
    lifetime: timedelta = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    identity = str(user_id)
    return {
        "access_token": create_access_token(identity, additional_claims={"sid": session_id}),
        "refresh_token": create_refresh_token(identity, additional_claims={"sid": session_id, "gen": generation}),
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }


def log_out(*, everywhere: bool) -> None:
    """End the session of the request's token, or all sessions of its user."""
    actor = current_actor()
    end_all(actor.id, only=None if everywhere else actor.session_id)
    recorder.record("logout", "users", actor.id, actor.username)


def select_sessions(user_id: int, page: int, page_size: int) -> Page:
    """The sessions that a user could go on with, the latest used first."""
    live = (
        sa.select(*(sessions.c[name] for name in _SHOWN))
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.user_id == user_id, _VALID, sessions.c.expires_at > utcnow())
    )
    total = db.session.scalar(sa.select(sa.func.count()).select_from(live.subquery()))
    latest = live.order_by(sessions.c.last_used_at.desc(), sessions.c.id)
    rows = db.session.execute(latest.limit(page_size).offset((page - 1) * page_size))
    here = current_actor().session_id
    return Page([{**row._mapping, "is_current": row.id == here} for row in rows], Pagination(page, page_size, total))


def end(user_id: int, session_id: str) -> None:
    """End one session of a user; raises NotFound."""
    if end_all(user_id, only=session_id) == 0:
        raise NotFound("There is no such session.")
    recorder.record("logout", "users", user_id, f"Session {session_id}")


def end_all(user_id: int, *, only: str | None = None, but: str | None = None) -> int:
    """End a user's sessions, or only one, or all but one; answers how many."""
    chosen = [sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)]
    if only is not None:
        chosen.append(sessions.c.id == only)
    if but is not None:
        chosen.append(sessions.c.id != but)
    ended = db.session.execute(sa.update(sessions).where(*chosen).values(ended_at=utcnow()))
    return int(ended.rowcount)  # type: ignore[attr-defined]


def _record_late_use(session_id: str, token_id: str) -> None:
    """Record that a token of a session that is over was used, so that its owner sees it too."""
    whose = sa.select(users.c.id, users.c.username).join(sessions, sessions.c.user_id == users.c.id)
    found = db.session.execute(whose.where(sessions.c.id == session_id)).one_or_none()
    if found is not None:
        context = replace(current_context(), user_id=found.id, username=found.username, token_id=token_id)
        message = "A token of a session that has ended was used."
        with writing():
            recorder.record("denied", "users", found.id, message, context=context)
