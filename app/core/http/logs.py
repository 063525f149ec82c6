"""The log on standard error: one line for each request, and every other line with the request that it belongs to.

Readable in development, a JSON object elsewhere. A line has a route instead of a path and no header, body or query,
so that no token, password or link gets into it.
"""

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Protocol, TextIO, runtime_checkable

import orjson
import structlog
from flask import Flask, Response, after_this_request, has_app_context, request

from app.core.db.cursors import counts
from app.core.db.unit_of_work import current_context

log = structlog.get_logger()

NO_ROUTE = "none"
"""The route of a request that matches none: its path may hold anything."""
_DETAIL = re.compile(r"(\n|\\n)DETAIL:((?!\\n).)*")
"""In an error's text, or in its `repr`."""


def init_app(app: Flask) -> None:
    configure(app.config["LOG_LEVEL"], readable=app.config["FLASK_ENV"] == "development")
    if logging.getLevelNamesMapping()[app.config["LOG_LEVEL"]] <= logging.INFO:
        app.before_request(_begin)


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


class _CountedParts:
    """The parts of an answer, whose bytes are counted while they are sent."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.bytes += len(part)
            yield part

    def close(self) -> None:
        if isinstance(self._parts, Closable):
            self._parts.close()


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


def _drop_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop PostgreSQL's details of an error: they quote the row, with hashes and encrypted mail."""
    for name in ("error", "exception"):
        if isinstance(text := event.get(name), str) and "DETAIL:" in text:
            event[name] = _DETAIL.sub("", text)
    return event


def _begin() -> None:
    """Have a line written when the request is answered; for an answer that is made while it is sent, at its end."""
    began, statements, rows = time.perf_counter(), counts.statements, counts.rows

    def finish(response: Response) -> Response:
        context = current_context()
        facts: dict[str, Any] = {"request_id": context.request_id, "user_id": context.user_id}
        facts |= {"method": request.method, "route": route_of_request(), "status": response.status_code}

        def write(size: int) -> None:
            log.info(
                "request",
                **facts,
                ms=round((time.perf_counter() - began) * 1000, 2),
                statements=counts.statements - statements,
                rows=counts.rows - rows,
                bytes=size,
            )

        if not response.is_streamed or response.content_length is not None:
            has_body = request.method != "HEAD" and response.status_code not in (204, 304)
            write((response.content_length or response.calculate_content_length() or 0) if has_body else 0)
        else:
            parts = response.response = _CountedParts(response.response)
            response.call_on_close(lambda: write(parts.bytes))
        return response

    after_this_request(finish)


def route_of_request() -> str:
    return NO_ROUTE if request.url_rule is None else request.url_rule.rule
