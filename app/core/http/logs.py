"""The log on standard error: how its lines are written, each with the request that it belongs to.

Readable in development, a JSON object elsewhere. A line has a route instead of a path and no header, body or query,
so that no token, password or link gets into it.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from flask import Flask, has_app_context

from app.core.db.unit_of_work import current_context

_DETAIL = re.compile(r"(\n|\\n)DETAIL:((?!\\n).)*")
"""In an error's text, or in its `repr`."""


def init_app(app: Flask) -> None:
    configure(app.config["LOG_LEVEL"], readable=app.config["FLASK_ENV"] == "development")


def configure(level: str, *, readable: bool, stream: TextIO | None = None) -> None:
    """Set up the log of this process, that of libraries too, whose warnings become lines of the same form."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        _add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Any]
    if readable:
        # The default shows local variables, such as passwords.
        plain = structlog.dev.plain_traceback
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=10, exception_formatter=plain)]
    else:
        render = [
            structlog.processors.format_exc_info,
            _drop_values,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    # Does nothing where the root logger has a handler, such as that of the tests.
    handler = logging.StreamHandler(stream)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, *render]))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # urllib3 logs a warning with a stack trace for each response that is not HTTP.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _serialize(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _add_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if has_app_context():
        context = current_context()
        event["request_id"] = context.request_id
        if context.user_id is not None:
            event["user_id"] = context.user_id
    return event


def _drop_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop PostgreSQL's details of an error: they quote the row, with hashes and encrypted mail."""
    for name in ("error", "exception"):
        if isinstance(text := event.get(name), str) and "DETAIL:" in text:
            event[name] = _DETAIL.sub("", text)
    return event
