"""Counting attempts: five wrong passwords in a row lock an account, whoever sends them, and however many at once."""

import zlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.auth.models import Nobody
from app.core.audit import recorder
from app.core.db.unit_of_work import current_context, db
from app.core.values import clean_text, fold, utcnow
from app.users.models import User

MAX_FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
NOBODIES = 64

users = User.__table__
nobodies = Nobody.__table__

_FORGIVEN = {"failed_login_attempts": 0, "locked_until": None}


def count_attempt(identifier: str) -> sa.Row[Any] | None:
    """Count one attempt on the account, unless it is locked or does not exist, in one atomic statement.

    Then it is counted on nobody, so that the database has written, and whoever asks has waited for, as much.
    """
    now = utcnow()
    if db.engine.dialect.name == "postgresql":
        # Counted for everybody at once, but not waited for on the disk: only the hash is to take its time.
        db.session.execute(sa.text("SET LOCAL synchronous_commit = off"))
    # A lock that has run out is forgiven with the failures that led to it.
    failures = sa.case((users.c.locked_until.is_not(None), 0), else_=users.c.failed_login_attempts) + 1
    statement = (
        sa.update(users)
        .where(_named(identifier), sa.or_(users.c.locked_until.is_(None), users.c.locked_until <= now))
        .values(
            failed_login_attempts=failures,
            locked_until=sa.case((failures >= MAX_FAILURES, now + LOCKED_FOR), else_=None),
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
    _count_on_nobody(identifier, really=attempt is None)
    return attempt


def _count_on_nobody(identifier: str, *, really: bool) -> None:
    """Write a row that stands for the name, or `really` none, by the same statement."""
    # Logins with one name wait for each other, and those with others do not, as it is with accounts.
    number = zlib.crc32(identifier.encode(errors="replace")) % NOBODIES
    theirs = nobodies.c.id == (number if really else -1)
    one_more = {"failed_login_attempts": nobodies.c.failed_login_attempts + 1}
    counted = db.session.execute(sa.update(nobodies).where(theirs).values(one_more))
    if really and not counted.rowcount:  # type: ignore[attr-defined]
        insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
        first = insert(nobodies).values(id=number, failed_login_attempts=1)
        db.session.execute(first.on_conflict_do_nothing())


def record_failure(identifier: str, *, has_locked: bool) -> None:
    """Record a failed login with the account that it was about, and the lock that it led to."""
    found = db.session.execute(sa.select(users.c.id, users.c.username).where(_named(identifier))).one_or_none()
    name = identifier[:255].replace("\x00", "").encode(errors="replace").decode()
    if found is None:
        recorder.record("login_failed", "users", None, name)
        return
    # Attributed to the account, so that its owner sees what was tried with their name.
    context = replace(current_context(), user_id=found.id, username=found.username)
    recorder.record("login_failed", "users", found.id, name, context=context)
    if has_locked:
        recorder.record("lockout", "users", found.id, found.username, context=context)


def let_in(attempt: sa.Row[Any]) -> bool:
    """Forget an account's failures and note the login, unless it has been closed since the attempt was counted.

    The lock on its row is what an administrator waits for who deactivates it now, and so ends the session.
    """
    seen = {"last_login_at": utcnow(), "last_login_ip": current_context().ip_address}
    unchanged = (
        users.c.id == attempt.id,
        users.c.is_active,
        users.c.password_version == attempt.password_version,
    )
    entered = db.session.execute(sa.update(users).where(*unchanged).values({**_FORGIVEN, **seen}))
    return bool(entered.rowcount)  # type: ignore[attr-defined]


def forgive(user_id: int) -> None:
    """Forget an account's failures, and open it if they have locked it."""
    db.session.execute(sa.update(users).where(users.c.id == user_id).values(_FORGIVEN))


def _named(identifier: str) -> sa.ColumnElement[bool]:
    try:
        name = fold(clean_text(identifier))
    except ValueError:
        # No name of anybody, but the statement is made all the same, for its time.
        name = ""
    return sa.or_(sa.func.lower(users.c.username) == name, sa.func.lower(users.c.email) == name)
