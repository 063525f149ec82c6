"""What psycopg's errors mean."""

from psycopg import errors as postgres

from app.core.db.dialects.protocol import Rule, Violation

_AWAY = (
    postgres.OperationalError,
    postgres.InterfaceError,
    postgres.ReadOnlySqlTransaction,
)
# The last one: something has made PostgreSQL forget a prepared statement, and direct.py knows by now.
_REPEATABLE = (postgres.DeadlockDetected, postgres.SerializationFailure, postgres.InvalidSqlStatementName)


def is_locked(error: BaseException) -> bool:
    """Whether another transaction holds what this one needs."""
    return isinstance(error, postgres.LockNotAvailable)


def is_too_slow(error: BaseException) -> bool:
    """Whether a statement has taken longer than it may."""
    return isinstance(error, postgres.QueryCanceled)


def is_away(error: BaseException) -> bool:
    """Whether the database does not answer, or does not write."""
    return isinstance(error, _AWAY)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction was given up for others, and may be run again."""
    return isinstance(error, _REPEATABLE)


def violation_of(error: BaseException) -> Violation:
    """What an IntegrityError says about the violated constraint."""
    assert isinstance(error, postgres.Error)
    kind: Rule = "check"
    if isinstance(error, postgres.UniqueViolation):
        kind = "unique"
    elif isinstance(error, postgres.ForeignKeyViolation):
        kind = "foreign key"
    said = error.diag
    return Violation(kind, said.table_name, said.constraint_name, (said.column_name,) if said.column_name else ())
