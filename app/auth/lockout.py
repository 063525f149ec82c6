"""Account lockout: five wrong passwords in a row lock an account for fifteen minutes.

Attempts are counted before the password hash is computed, so that parallel requests cannot try more than five. Login
attempts on unknown names write a row as well: the time of a response must not tell whether an account exists.
"""

import zlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.auth.models import DummyLoginCounter
from app.core.audit import recorder
from app.core.db.unit_of_work import current_context, db
from app.core.values import clean_text, fold, utcnow
from app.users.models import User

MAX_FAILURES = 5
LOCK_DURATION = timedelta(minutes=15)
DUMMY_COUNTERS = 64
"""Rows that stand for all unknown names; several, because logins with one name wait for each other."""

users = User.__table__
dummy_counters = DummyLoginCounter.__table__

_NO_FAILURES = {"failed_login_attempts": 0, "locked_until": None}


def count_attempt(identifier: str) -> sa.Row[Any] | None:
    """Count an attempt on an account; None if it is locked or does not exist.

    One atomic statement, so that concurrent attempts are all counted. Without an account, a dummy counter is updated,
    which takes the database as long.
    """
    now = utcnow()
    if db.engine.dialect.name == "postgresql":
        # Without waiting for the disk: visible to others at once, and a crash may lose the count.
        db.session.execute(sa.text("SET LOCAL synchronous_commit = off"))
    # An expired lock resets the failures that led to it.
    failures = sa.case((users.c.locked_until.is_not(None), 0), else_=users.c.failed_login_attempts) + 1
    statement = (
        sa.update(users)
        .where(_matches(identifier), sa.or_(users.c.locked_until.is_(None), users.c.locked_until <= now))
        .values(
            failed_login_attempts=failures,
            locked_until=sa.case((failures >= MAX_FAILURES, now + LOCK_DURATION), else_=None),
        )
        .returning(
            users.c.id,
            users.c.username,
            users.c.email,
            users.c.role,
            users.c.is_active,
            users.c.password_hash,
            users.c.password_version,
            users.c.locked_until,
        )
    )
    attempt = db.session.execute(statement).one_or_none()
    _count_on_dummy(identifier, is_needed=attempt is None)
    return attempt


def _count_on_dummy(identifier: str, *, is_needed: bool) -> None:
    """Update the dummy counter of a name, or none by the same statement."""
    # By name: as with accounts, only logins with the same name wait for each other.
    number = zlib.crc32(identifier.encode(errors="replace")) % DUMMY_COUNTERS
    chosen = dummy_counters.c.id == (number if is_needed else -1)
    increment = {"failed_login_attempts": dummy_counters.c.failed_login_attempts + 1}
    counted = db.session.execute(sa.update(dummy_counters).where(chosen).values(increment))
    if is_needed and not counted.rowcount:  # type: ignore[attr-defined]
        insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
        first = insert(dummy_counters).values(id=number, failed_login_attempts=1)
        db.session.execute(first.on_conflict_do_nothing())


def record_failure(identifier: str, *, has_locked: bool) -> None:
    """Audit a failed login, and the lockout that it led to, with the account if there is one."""
    account = db.session.execute(sa.select(users.c.id, users.c.username).where(_matches(identifier))).one_or_none()
    name = identifier[:255].replace("\x00", "").encode(errors="replace").decode()
    if account is None:
        recorder.record("login_failed", "users", None, name)
        return
    # Attributed to the account, so that its user sees the attempt among their activity.
    context = replace(current_context(), user_id=account.id, username=account.username)
    recorder.record("login_failed", "users", account.id, name, context=context)
    if has_locked:
        recorder.record("lockout", "users", account.id, account.username, context=context)


def confirm_login(attempt: sa.Row[Any]) -> bool:
    """Reset the failures and store the login; False if the account has been deactivated since, or its password changed.

    Locks the user's row: a concurrent deactivation comes after the login and so ends its session.
    """
    last_login = {"last_login_at": utcnow(), "last_login_ip": current_context().ip_address}
    unchanged = (
        users.c.id == attempt.id,
        users.c.is_active,
        users.c.password_version == attempt.password_version,
    )
    confirmed = db.session.execute(sa.update(users).where(*unchanged).values({**_NO_FAILURES, **last_login}))
    return bool(confirmed.rowcount)  # type: ignore[attr-defined]


def unlock(user_id: int) -> None:
    """Reset an account's failures and its lock."""
    db.session.execute(sa.update(users).where(users.c.id == user_id).values(_NO_FAILURES))


def _matches(identifier: str) -> sa.ColumnElement[bool]:
    try:
        name = fold(clean_text(identifier))
    except ValueError:
        # No account can have this name; the statement runs all the same, for equal time.
        name = ""
    return sa.or_(sa.func.fold(users.c.username) == name, sa.func.fold(users.c.email) == name)
