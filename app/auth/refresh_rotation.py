"""Refresh token rotation: each refresh token is exchanged for a new one once, and its reuse ends the session.

Tabs of one browser refresh at the same time with the same token, which is no theft. The first request claims the
rotation and waits until no other one arrives any more; those that arrive meanwhile are told to use what it got.
"""

from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.auth.sessions import SessionEnded, issue_tokens, sessions, update
from app.core.audit import recorder
from app.core.db.statements import read_rows
from app.core.db.unit_of_work import current_context, db, reading, writing
from app.core.errors import Unauthorized
from app.core.http.access import ARRIVED_AT, current_actor, current_claims
from app.core.messages import tr
from app.core.values import utcnow

QUIET_SECONDS = 0.1
"""The rotation takes place once no other request has arrived for this time."""
MAX_WAIT_SECONDS = 2.0
"""The rotation takes place after this time even if requests keep arriving."""
CLAIM_TIMEOUT = timedelta(seconds=10)
"""A claim that is older belongs to a process that has died; another request may take it over."""


class ConcurrentRefresh(Unauthorized):
    reason, message = (
        "token_exchanged",
        tr("Another request is refreshing with this token. Use the tokens that it receives."),
    )


def rotate() -> dict[str, Any]:
    """New tokens for the request's refresh token.

    Raises ConcurrentRefresh if another request is being given them. Raises SessionEnded if the token was rotated
    before: two clients have it, one of them may have stolen it, so the session ends for both (RFC 9700, 4.14.2).
    """
    actor, generation = current_actor(), int(current_claims()["gen"])
    assert actor.session_id is not None
    this = sa.and_(sessions.c.id == actor.session_id, sessions.c.ended_at.is_(None))
    # Read before locking: waiting for the lock is not token reuse.
    current, rotated_at = _read_rotation(this)
    if current == generation + 1 and current_claims()[ARRIVED_AT] <= rotated_at:
        # Its process was too busy to look sooner.
        raise ConcurrentRefresh()
    if current != generation:
        with writing():
            update(this, ended_at=utcnow())
            recorder.record("denied", "users", actor.id, "A refresh token was used twice; its session has ended.")
        raise SessionEnded()
    unrotated = sa.and_(this, sessions.c.generation == generation)
    if not _claim(unrotated):
        raise ConcurrentRefresh()
    _rotate_once_quiet(unrotated)
    return issue_tokens(actor.id, actor.session_id, generation + 1)


def rotate_or_wait() -> dict[str, Any] | None:
    """As `rotate`, but None once another request has been given the tokens: the tabs of a browser share their cookies.

    The cookies of the other answer are on their way before this one. Raises ConcurrentRefresh if the other died.
    """
    try:
        return rotate()
    except ConcurrentRefresh:
        this = sa.and_(sessions.c.id == current_actor().session_id, sessions.c.ended_at.is_(None))
        deadline = monotonic() + 2 * MAX_WAIT_SECONDS
        while monotonic() < deadline:
            sleep(QUIET_SECONDS)
            if _read_rotation(this)[0] != int(current_claims()["gen"]):
                return None
        raise


def _read_rotation(this: sa.ColumnElement[bool]) -> tuple[int, datetime]:
    """How often a session's token was rotated, and when it was last; raises SessionEnded."""
    with reading():
        row = read_rows(sa.select(sessions.c.generation, sessions.c.last_used_at).where(this)).one_or_none()
    if row is None:
        raise SessionEnded()
    return int(row.generation), row.last_used_at


def _claim(unrotated: sa.ColumnElement[bool]) -> bool:
    """Claim the rotation, or count this request as a contender for the one that has claimed it."""
    now = utcnow()
    unclaimed = sa.or_(sessions.c.claimed_at.is_(None), sessions.c.claimed_at < now - CLAIM_TIMEOUT)
    claim = sa.update(sessions).where(unrotated, unclaimed).values(claimed_at=now, contenders=0)
    with writing():
        is_claimed: bool = db.session.execute(claim).rowcount == 1  # type: ignore[attr-defined]
        if not is_claimed:
            contention = {"contenders": sessions.c.contenders + 1}
            db.session.execute(sa.update(sessions).where(unrotated).values(contention))
    return is_claimed


def _rotate_once_quiet(unrotated: sa.ColumnElement[bool]) -> None:
    """Wait until no further request contends, then rotate; raises SessionEnded if the session ends first."""
    deadline = monotonic() + MAX_WAIT_SECONDS
    previous: int | None = 0
    while monotonic() < deadline:
        sleep(QUIET_SECONDS)
        with reading():
            contenders = read_rows(sa.select(sessions.c.contenders).where(unrotated)).scalar()
        if contenders == previous:
            break
        previous = contenders
    now = utcnow()
    rotation = {
        "generation": sessions.c.generation + 1,
        "claimed_at": None,
        "last_used_at": now,
        "expires_at": now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
        "ip_address": current_context().ip_address,
    }
    rotated = db.session.execute(sa.update(sessions).where(unrotated).values(rotation))
    if rotated.rowcount != 1:  # type: ignore[attr-defined]
        raise SessionEnded()
