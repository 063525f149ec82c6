"""Error handlers: every exception that leaves a view becomes an envelope, and refusals are recorded."""

import errno
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app.core.audit.refusals import RefusedRequest, record_pending, record_refusals
from app.core.db.errors import from_database
from app.core.db.files import StorageUnavailable
from app.core.db.unit_of_work import writing
from app.core.errors import ApiError, Forbidden, Unavailable, from_http
from app.core.http.envelope import failure
from app.core.jobs.runner import Runner

log = structlog.get_logger()

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
"""No descriptor or no space is left, such as for the temporary file of an export; not for long."""
RECORD_EVERY_SECONDS = 15.0
"""How often counted refusals whose minute is over are recorded."""


def register(app: Flask) -> None:
    """Answer every error of an application in the envelope."""
    for kind, translate in (
        (ApiError, lambda error: error),
        (HTTPException, from_http),
        (DBAPIError, _from_database),
        (PoolTimeout, lambda _: Unavailable()),
        (OSError, _from_system),
        (Exception, _from_mistake),
    ):
        app.register_error_handler(kind, _answer_with(translate))


def register_jobs(runner: Runner) -> None:
    runner.repeat("refusals", record_pending, every=RECORD_EVERY_SECONDS)


def _answer_with(translate: Callable[[Any], ApiError]) -> Callable[[Any], Response]:
    def answer(error: Any) -> Response:
        translated = translate(error)
        if isinstance(translated, Forbidden):
            translated = _record_denied(translated)
        return failure(translated)

    return answer


def _from_database(error: DBAPIError) -> ApiError:
    translated = from_database(error)
    if translated.status >= 500:
        log.error("database_error", error=str(error.orig), status=translated.status)
    return translated


def _from_system(error: OSError) -> ApiError:
    # Before the first temporary file, Python writes a file into each directory that it may use.
    if error.errno not in EXHAUSTED and "No usable temporary directory" not in str(error):
        return _from_mistake(error)
    log.error("resources_exhausted", error=repr(error))
    return StorageUnavailable()


def _from_mistake(error: Exception) -> ApiError:
    log.error("internal_error", error=repr(error), exc_info=error)
    return ApiError()


def _record_denied(error: Forbidden) -> ApiError:
    """Record a refusal in a transaction of its own, because the request's has been rolled back."""
    kind = (request.blueprint or "").replace("-", "_")
    object_id = next((value for value in (request.view_args or {}).values() if isinstance(value, int)), None)
    try:
        with writing():
            refused = RefusedRequest(kind, object_id, f"{request.method} {request.path}")
            record_refusals([refused], route=f"{request.method} {request.url_rule}")
    except DBAPIError as failed:
        return from_database(failed)
    return error
