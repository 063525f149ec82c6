"""Database errors as API errors: constraints know their fields and messages."""

import re
from typing import Any

from psycopg import errors as postgres
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.db.models import Base
from app.core.errors import ApiError, Conflict, Invalid, Locked, TooSlow, Unavailable, taken
from app.core.messages import tr


class BrokenReference(Conflict):
    reason = "reference"
    message = tr("An object that this one refers to does not exist, or is still referred to.")


def from_database(error: DBAPIError) -> ApiError:
    """Translate a violated constraint, naming the fields that it covers, and a database that is away."""
    if isinstance(error, IntegrityError):
        return _from_integrity(error.orig)
    for kind, says_so in ((Locked, _is_locked), (TooSlow, _is_too_slow), (Unavailable, _is_away)):
        if says_so(error.orig):
            return kind()
    return Unavailable() if error.connection_invalidated else ApiError()


def _is_locked(cause: Any) -> bool:
    """Whether another transaction holds a row, or SQLite's write lock."""
    return isinstance(cause, postgres.LockNotAvailable) or "database is locked" in str(cause)


def _is_too_slow(cause: Any) -> bool:
    return isinstance(cause, postgres.QueryCanceled)


_AWAY = (
    postgres.OperationalError,
    postgres.InterfaceError,
    postgres.ReadOnlySqlTransaction,
)


def _is_away(cause: Any) -> bool:
    return isinstance(cause, _AWAY) or bool(re.search(r"disk is full|readonly database|unable to open", str(cause)))


def _from_integrity(cause: Any) -> ApiError:
    if _table(cause) == "audit_logs":
        # Clients do not send audit records: one that cannot be written is an internal error.
        return ApiError()
    kind, fields, message = _violated(cause)
    if kind == "unique":
        field = fields[-1] if fields else "value"
        return taken(field)
    if kind == "foreign key":
        return BrokenReference()
    return Invalid(errors={name: [message] for name in fields})


def _table(cause: Any) -> str | None:
    """The table of the violated constraint, if the driver reports it."""
    if isinstance(cause, postgres.Error):
        return cause.diag.table_name
    named = re.match(r"[A-Z ]+ constraint failed: (\w+)\.", str(cause))
    return named and named[1]


def _violated(cause: Any) -> tuple[str, tuple[str, ...], str]:
    """The kind of the violated constraint, the fields that it covers and its message, from either driver."""
    if isinstance(cause, postgres.Error):
        kind = "check"
        if isinstance(cause, postgres.UniqueViolation):
            kind = "unique"
        elif isinstance(cause, postgres.ForeignKeyViolation):
            kind = "foreign key"
        if cause.diag.column_name:
            return kind, (cause.diag.column_name,), tr("Not allowed.", rule="not_allowed")
        return kind, *_constrained(cause.diag.constraint_name or "")
    text = str(cause)
    if text.startswith("FOREIGN KEY"):
        return "foreign key", (), ""
    kind = "unique" if text.startswith("UNIQUE") else "check"
    subject = text.partition(": ")[2]
    if named := re.match(r"index '(\w+)'", subject):
        return kind, *_constrained(named[1])
    if "." in subject:
        names = [column.partition(".") for column in subject.split(", ")]
        return kind, *_constrained_together(names[0][0], tuple(column for _, _, column in names))
    return kind, *_constrained(subject)


def _constrained_together(table: str, columns: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The fields and the message of the constraint on these columns: SQLite does not report its name."""
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
