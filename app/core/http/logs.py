"""One JSON object per line on standard error, each with the request that it belongs to."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog
from flask import Flask, has_app_context

from app.core.db.unit_of_work import current_context


def init_app(app: Flask) -> None:
    level = logging.getLevelNamesMapping()[app.config["LOG_LEVEL"]]
    structlog.configure(
        processors=[
            _add_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # urllib3 logs a warning with a stack trace for each response that is not HTTP.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _add_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if has_app_context():
        event["request_id"] = current_context().request_id
    return event
