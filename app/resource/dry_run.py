"""`?dry_run=true`: everything is done and answered, and then undone."""

from collections.abc import Mapping

from flask import Response

from app.core.db.unit_of_work import undo_at_end


def conclude(response: Response, query: Mapping[str, bool]) -> Response:
    """Answer as if it had been done; a dry run undoes it, down to the audit log."""
    if query["dry_run"]:
        undo_at_end()
        response.headers.pop("Location", None)
    return response
