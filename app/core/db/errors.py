"""Database errors as API errors: constraints know their fields and messages."""

import time
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.db.dialects.protocol import Violation
from app.core.db.dialects.registry import current_dialect
from app.core.db.models import Base
from app.core.errors import ApiError, Conflict, Invalid, Locked, TooSlow, Unavailable, taken
from app.core.messages import tr

PAUSE_SECONDS = 0.02
"""The pause after the first attempt; after the second it is twice as long."""


class BrokenReference(Conflict):
    reason = "reference"
    message = tr("An object that this one refers to does not exist, or is still referred to.")


def from_database(error: DBAPIError) -> ApiError:
    """Translate a violated constraint, naming the fields that it covers, and a database that is away."""
    cause, meaning = error.orig, current_dialect().errors
    assert cause is not None
    if isinstance(error, IntegrityError):
        return _from_violation(meaning.violation_of(cause))
    for kind, says_so in ((Locked, meaning.is_locked), (TooSlow, meaning.is_too_slow), (Unavailable, meaning.is_away)):
        if says_so(cause):
            return kind()
    return Unavailable() if error.connection_invalidated else ApiError()


def await_repetition(error: DBAPIError, attempt: int, *, is_read: bool) -> bool:
    """Whether only the database is to blame, so that the same transaction may succeed when it is run again from now on.

    Whoever loses a deadlock pauses: a lock can be taken again until the other one, who waits for it, has woken up.
    """
    if error.orig is not None and current_dialect().errors.is_conflict(error.orig):
        time.sleep(PAUSE_SECONDS * attempt)
        return True
    return is_read and attempt == 1 and error.connection_invalidated


def _from_violation(violation: Violation) -> ApiError:
    if violation.table == "audit_logs":
        # Clients do not send audit records: one that cannot be written is an internal error.
        return ApiError()
    fields, message = _covered(violation)
    if violation.kind == "unique":
        field = fields[-1] if fields else "value"
        return taken(field)
    if violation.kind == "foreign key":
        return BrokenReference()
    return Invalid(errors={name: [message] for name in fields})


def _covered(violation: Violation) -> tuple[tuple[str, ...], str]:
    """The fields that the violated constraint covers, and its message."""
    if violation.constraint and not violation.columns:
        return _constrained(violation.constraint)
    return _constrained_together(violation.table or "", violation.columns)


def _constrained_together(table: str, columns: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The fields and the message of the constraint on these columns, where a database does not report its name."""
    declared: list[Any] = []
    if table in Base.metadata.tables:
        declared = [*Base.metadata.tables[table].constraints, *Base.metadata.tables[table].indexes]
    for item in declared:
        if "fields" in item.info and tuple(column.name for column in getattr(item, "columns", ())) == columns:
            return item.info["fields"], item.info.get("message", tr("Not allowed.", rule="not_allowed"))
    return columns, tr("Not allowed.", rule="not_allowed")


def _constrained(name: str) -> tuple[tuple[str, ...], str]:
    """The fields and the message that a constraint of this name was declared with."""
    for table in Base.metadata.tables.values():
        declared: list[Any] = [*table.constraints, *table.indexes]
        for item in declared:
            if item.name == name:
                columns = tuple(column.name for column in getattr(item, "columns", ()))
                return item.info.get("fields", columns), item.info.get(
                    "message", tr("Not allowed.", rule="not_allowed")
                )
    return (), tr("Not allowed.", rule="not_allowed")
