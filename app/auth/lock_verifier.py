"""Verification of account locks: each began with a `lockout` record, and lasts unless something recorded ended it."""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from app.auth.lockout import LOCK_DURATION
from app.core.audit.models import STORED
from app.core.values import utcnow
from app.proof.report import FindingKind, Report
from app.users.models import User

TOLERANCE = timedelta(minutes=1)
"""How much later than the lock its record may be: a password hash is computed between the two."""
KEEP_LOCK = ("create", "login_failed", "lockout", "denied", "password_reset")
"""Records of a user that do not show that the lock was ended."""

users = User.__table__
logs = STORED.c


def compare_locks(connection: sa.Connection, report: Report) -> None:
    """Report accounts that are locked without a record, or unlocked without one."""
    for user_id in {*_locked_without_record(connection), *_unlocked_without_record(connection)}:
        message = "The row differs from the log in locked_until."
        report.add(FindingKind.ROW_CHANGED, message, resource_type=users.name, resource_id=user_id)


def _locked_without_record(connection: sa.Connection) -> Iterator[int]:
    now = utcnow()
    locked = sa.select(users.c.id, users.c.locked_until).where(users.c.locked_until.is_not(None))
    for user_id, locked_until in connection.execute(locked).all():
        began = locked_until - LOCK_DURATION
        if now - TOLERANCE < began <= now:
            continue
        lockout = _of_user(user_id), logs.action == "lockout", logs.created_at.between(began, began + TOLERANCE)
        if not connection.scalar(sa.select(sa.exists().where(*lockout))):
            yield user_id


def _unlocked_without_record(connection: sa.Connection) -> Iterator[int]:
    """Of the lockouts whose lock has not expired yet, those of accounts that are not locked."""
    is_lockout = logs.action == "lockout", logs.created_at > utcnow() - LOCK_DURATION + TOLERANCE
    lockouts = sa.select(logs.resource_id, sa.func.max(logs.created_at)).where(*is_lockout).group_by(logs.resource_id)
    for user_id, locked_at in connection.execute(lockouts).all():
        unlocked = sa.select(users.c.id).where(users.c.id == user_id, users.c.locked_until.is_(None))
        ended = (_of_user(user_id), logs.action.not_in(KEEP_LOCK), logs.created_at > locked_at - TOLERANCE)
        if connection.scalar(unlocked) and not connection.scalar(sa.select(sa.exists().where(*ended))):
            yield user_id


def _of_user(user_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(logs.resource_type == users.name, logs.resource_id == user_id)
