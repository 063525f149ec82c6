"""Account lockout: five wrong passwords in a row lock an account for fifteen minutes.

Whatever compares a password asks `begin_check` before the hash is computed, and concludes with `confirm` or
`record_failure`. Failures and checks in progress together are five at most, so that parallel requests cannot try more;
further ones wait until it is known whether those were wrong, because right passwords are not refused for being many.
Checks of unknown names do the same on a row of dummy counters: the time of a response must not tell whether an account
exists.
"""

import time
import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.auth.models import DummyLoginCounter
from app.core.audit import recorder
from app.core.db.dialects.registry import current_dialect
from app.core.db.statements import insert_missing
from app.core.db.unit_of_work import current_context, db, reading, writing
from app.core.errors import TooManyRequests
from app.core.mail import outbox
from app.core.messages import tr
from app.core.values import clean_text, fold, utcnow
from app.users.models import User

MAX_FAILURES = 5
LOCK_DURATION = timedelta(minutes=15)
DUMMY_COUNTERS = 64
"""Rows that stand for all unknown names; several, because checks of one name wait for each other."""
CHECK_TIMEOUT = timedelta(seconds=60)
"""Checks that began earlier belong to a process that has died."""
MAX_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.05

users = User.__table__
dummy_counters = DummyLoginCounter.__table__

Attempt = sa.Row[Any]
"""The account whose password is being checked: id, username, email, role, is_active, password_hash and _version."""


class TooManyChecks(TooManyRequests):
    def __init__(self) -> None:
        super().__init__(tr("Too many sign-ins with this name at once."), headers={"Retry-After": "5"})


def begin_check(identifier: str) -> Attempt | None:
    """Count a check of an account's password; None if the account is locked or does not exist.

    Waits while others in progress may lock it; raises TooManyChecks if that takes too long.
    """
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        with writing():
            is_admitted, attempt = _admit(identifier)
        if is_admitted:
            return attempt
        while not _has_room(identifier):
            if time.monotonic() > deadline:
                raise TooManyChecks()
            time.sleep(POLL_SECONDS)


def confirm(attempt: Attempt, **values: Any) -> bool:
    """Reset the failures after a right password, and store these values.

    False if the account has been deactivated since, or its password changed. Locks the user's row: a concurrent
    deactivation comes after a login and so ends its session.
    """
    unchanged = (
        users.c.id == attempt.id,
        users.c.is_active,
        users.c.password_version == attempt.password_version,
    )
    confirmed = sa.update(users).where(*unchanged).values(**_NO_FAILURES, **_one_check_less(users), **values)
    return bool(db.session.execute(confirmed).rowcount)  # type: ignore[attr-defined]


def record_failure(identifier: str, attempt: Attempt | None) -> None:
    """Count a wrong password, lock the account after the fifth, and audit both; mail the lock to its user."""
    locked_until = _conclude(identifier, attempt)
    account = db.session.execute(
        sa.select(users.c.id, users.c.username, users.c.email, users.c.language, users.c.is_active).where(
            login_condition(identifier)
        )
    ).one_or_none()
    name = identifier[:255].replace("\x00", "").encode(errors="replace").decode()
    if account is None:
        recorder.record("login_failed", "users", None, name)
        return
    # Attributed to the account, so that its user sees the attempt among their activity.
    context = replace(current_context(), user_id=account.id, username=account.username)
    recorder.record("login_failed", "users", account.id, name, context=context)
    if locked_until is not None:
        recorder.record("lockout", "users", account.id, account.username, context=context)
        if account.is_active:
            _mail_lockout(account, locked_until)


def unlock(user_id: int) -> None:
    """Reset an account's failures and its lock."""
    db.session.execute(sa.update(users).where(users.c.id == user_id).values(_NO_FAILURES))


_NO_FAILURES = {"failed_login_attempts": 0, "locked_until": None}


def _admit(identifier: str) -> tuple[bool, Attempt | None]:
    """Begin a check unless too many are in progress: (True, account), or (True, None) on a dummy counter.

    One atomic statement for each, so that concurrent checks are all counted. Both take the database as long.
    """
    now = utcnow()
    # A crash may lose the count.
    current_dialect().connections.commit_without_disk(db.session.connection())
    begun = {"checks_in_progress": _in_progress(users, now) + 1, "last_check_at": now}
    statement = (
        sa.update(users)
        .where(login_condition(identifier), _is_unlocked(now), _account_has_room(now))
        .values(failed_login_attempts=_failures(now), locked_until=None, **begun)
        .returning(
            users.c.id,
            users.c.username,
            users.c.email,
            users.c.language,
            users.c.role,
            users.c.is_active,
            users.c.password_hash,
            users.c.password_version,
        )
    )
    attempt = db.session.execute(statement).one_or_none()
    is_busy = db.session.scalar(sa.select(_exists_unlocked(identifier, now))) and attempt is None
    is_counted = _admit_on_dummy(identifier, now, is_needed=attempt is None and not is_busy)
    return attempt is not None or is_counted, attempt


def _admit_on_dummy(identifier: str, now: datetime, *, is_needed: bool) -> bool:
    """Begin a check on the dummy counter of a name, or on none by the same statement."""
    chosen = dummy_counters.c.id == (_dummy_id(identifier) if is_needed else -1)
    begun = {"checks_in_progress": _in_progress(dummy_counters, now) + 1, "last_check_at": now}
    has_room = _in_progress(dummy_counters, now) < MAX_FAILURES
    update = sa.update(dummy_counters).where(chosen, has_room).values(begun).returning(dummy_counters.c.id)
    counted = db.session.execute(update).one_or_none()
    if is_needed and counted is None:
        first = {"failed_login_attempts": 0, "checks_in_progress": 1, "last_check_at": now}
        new = insert_missing(dummy_counters).values(id=_dummy_id(identifier), **first)
        counted = db.session.execute(new.returning(dummy_counters.c.id)).one_or_none()
    return counted is not None


def _has_room(identifier: str) -> bool:
    """Whether a check that could not begin may try again."""
    now = utcnow()
    is_full = sa.and_(dummy_counters.c.id == _dummy_id(identifier), _in_progress(dummy_counters, now) >= MAX_FAILURES)
    account = sa.exists().where(login_condition(identifier), _is_unlocked(now), _account_has_room(now))
    dummy = sa.and_(~_exists_unlocked(identifier, now), ~sa.exists().where(is_full))
    with reading():
        return bool(db.session.scalar(sa.select(sa.or_(account, dummy))))


def _conclude(identifier: str, attempt: Attempt | None) -> datetime | None:
    """End a check as a failure, on its account or dummy counter; returns until when that locks the account."""
    failures = users.c.failed_login_attempts + 1
    lock = sa.case((failures >= MAX_FAILURES, utcnow() + LOCK_DURATION), else_=None)
    failed = (
        sa.update(users)
        .where(users.c.id == (-1 if attempt is None else attempt.id))
        .values(failed_login_attempts=failures, locked_until=lock, **_one_check_less(users))
        .returning(users.c.locked_until)
    )
    locked_until: datetime | None = db.session.execute(failed).scalar_one_or_none()
    chosen = dummy_counters.c.id == (_dummy_id(identifier) if attempt is None else -1)
    counted = {"failed_login_attempts": dummy_counters.c.failed_login_attempts + 1}
    db.session.execute(sa.update(dummy_counters).where(chosen).values(**counted, **_one_check_less(dummy_counters)))
    return locked_until


def _mail_lockout(account: Any, locked_until: datetime) -> None:
    context = current_context()
    outbox.post(
        account.email,
        account.language,
        tr("Your account is locked"),
        "lockout",
        username=account.username,
        failures=MAX_FAILURES,
        until=locked_until,
        address=context.ip_address,
        device=context.user_agent,
    )


def _is_unlocked(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(users.c.locked_until.is_(None), users.c.locked_until <= now)


def _exists_unlocked(identifier: str, now: datetime) -> sa.Exists:
    return sa.exists().where(login_condition(identifier), _is_unlocked(now))


def _account_has_room(now: datetime) -> sa.ColumnElement[bool]:
    return _failures(now) + _in_progress(users, now) < MAX_FAILURES


def _failures(now: datetime) -> sa.ColumnElement[int]:
    """The failures in a row: an expired lock resets those that led to it.

    What the checks of a process that died have found is unknown: they leave one more attempt.
    """
    return sa.case(
        (users.c.locked_until.is_not(None), 0),
        (_is_abandoned(users, now), MAX_FAILURES - 1),
        else_=users.c.failed_login_attempts,
    )


def _in_progress(table: sa.FromClause, now: datetime) -> sa.ColumnElement[int]:
    return sa.case((_is_abandoned(table, now), 0), else_=table.c.checks_in_progress)


def _is_abandoned(table: sa.FromClause, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.checks_in_progress > 0, table.c.last_check_at < now - CHECK_TIMEOUT)


def _one_check_less(table: sa.FromClause) -> dict[str, Any]:
    in_progress = table.c.checks_in_progress
    return {"checks_in_progress": sa.case((in_progress > 0, in_progress - 1), else_=0)}


def _dummy_id(identifier: str) -> int:
    # By name: as with accounts, only checks of the same name wait for each other.
    return zlib.crc32(identifier.encode(errors="replace")) % DUMMY_COUNTERS


def login_condition(identifier: str) -> sa.ColumnElement[bool]:
    """The condition that a user has this username or e-mail address, as a login compares them."""
    try:
        name = fold(clean_text(identifier))
    except ValueError:
        # No account can have this name; the statement runs all the same, for equal time.
        name = ""
    return sa.or_(sa.func.fold(users.c.username) == name, sa.func.fold(users.c.email) == name)
