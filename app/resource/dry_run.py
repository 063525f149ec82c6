"""`?dry_run=true`: everything is done and answered, and then undone."""

from collections.abc import Mapping

from flask import Response

from app.core.db.unit_of_work import db
from app.core.http import idempotency


def conclude(response: Response, query: Mapping[str, bool]) -> Response:
    """Answer as if it had been done; a dry run undoes it, down to the audit log."""
    if query["dry_run"]:
        db.session.rollback()
        response.headers.pop("Location", None)
        idempotency.nothing_stored()
    return response
