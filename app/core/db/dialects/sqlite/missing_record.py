"""The error of a commit that lacks an audit record, which PostgreSQL's trigger words by itself."""

import sqlite3

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError


def name_missing_record(context: ExceptionContext) -> DatabaseError | None:
    """Listener: name the missing record if a commit fails for a deferred foreign key.

    Only audit records have one, and after the failure the transaction can still be queried.
    """
    error = context.original_exception
    if context.statement is not None or not isinstance(error, sqlite3.IntegrityError) or context.connection is None:
        return None
    row = context.connection.connection.cursor().execute(_MISSING).fetchone()
    if row is None:
        return None
    kind, identity, version = row
    named = sqlite3.DatabaseError(f"Version {version} of {kind} {identity} has no audit record.")
    return DatabaseError(None, None, named)


_MISSING = (
    "SELECT resource_type, resource_id, version FROM audit_expected AS expected WHERE NOT EXISTS ("
    "SELECT 1 FROM audit_logs AS log WHERE log.resource_type = expected.resource_type "
    "AND log.resource_id = expected.resource_id AND log.version = expected.version) LIMIT 1"
)
