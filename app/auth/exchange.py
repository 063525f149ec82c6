"""Exchanging a refresh token for its successor: once, however many ask, and in however many processes."""

import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.auth.sessions import SessionOver, sessions, tokens_of
from app.core.audit import recorder
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import current_context, db, reading, writing
from app.core.errors import Unauthorized
from app.core.http.access import current_actor, current_claims
from app.core.values import utcnow

QUIET = 0.1
"""Seconds for which nobody else must have asked before the successor is handed over."""
PATIENCE = 2.0
"""Seconds after which it is handed over however many ask."""
CLAIM = timedelta(seconds=10)
"""How long the others leave the exchange to a process that may have died in it."""


class Overtaken(Unauthorized):
    reason, message = "token_exchanged", "Another request is exchanging this token at the same moment."


def exchange() -> dict[str, Any]:
    """New tokens for the request's refresh token.

    Raises Overtaken where another request gets them. Raises SessionOver where somebody has got them already: one of
    the two is a thief, nobody can tell which, and so the session ends.
    """
    actor, generation = current_actor(), int(current_claims()["gen"])
    assert actor.session_id is not None
    this = sa.and_(sessions.c.id == actor.session_id, sessions.c.ended_at.is_(None))
    # Read before locking: waiting for the lock is not token reuse.
    with reading():
        current = read_rows(sa.select(sessions.c.generation).where(this)).scalar()
    if current is None:
        raise SessionOver()
    if current != generation:
        with writing():
            db.session.execute(sa.update(sessions).where(this).values(ended_at=utcnow()))
            recorder.record("denied", "users", actor.id, "A refresh token was used twice; its session has ended.")
        raise SessionOver()
    unused = sa.and_(this, sessions.c.generation == generation)
    if not _claim(unused):
        raise Overtaken()
    _hand_over(unused)
    return tokens_of(actor.id, actor.session_id, generation + 1)


def _claim(unused: sa.ColumnElement[bool]) -> bool:
    """Claim the exchange, or let whoever has claimed it know that there is somebody else."""
    now = utcnow()
    free = sa.or_(sessions.c.claimed_at.is_(None), sessions.c.claimed_at < now - CLAIM)
    claim = sa.update(sessions).where(unused, free).values(claimed_at=now, contenders=0)
    with writing():
        is_ours: bool = db.session.execute(claim).rowcount == 1  # type: ignore[attr-defined]
        if not is_ours:
            one_more = {"contenders": sessions.c.contenders + 1}
            db.session.execute(sa.update(sessions).where(unused).values(one_more))
    return is_ours


def _hand_over(unused: sa.ColumnElement[bool]) -> None:
    """Make the token a used one as soon as nobody else asks with it; raises SessionOver if the session ends first."""
    deadline = time.monotonic() + PATIENCE
    seen: int | None = 0
    while time.monotonic() < deadline:
        time.sleep(QUIET)
        with reading():
            contenders = read_rows(sa.select(sessions.c.contenders).where(unused)).scalar()
        if contenders == seen:
            break
        seen = contenders
    now = utcnow()
    used = {
        "generation": sessions.c.generation + 1,
        "claimed_at": None,
        "last_used_at": now,
        "expires_at": now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
        "ip_address": current_context().ip_address,
    }
    handed_over = db.session.execute(sa.update(sessions).where(unused).values(used))
    if handed_over.rowcount != 1:  # type: ignore[attr-defined]
        raise SessionOver()
