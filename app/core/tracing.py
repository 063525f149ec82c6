"""Traces for OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set: spans of requests, jobs and their statements.

A request and its jobs are one trace, whose id follows from the id of the request, or is that of the client's
`traceparent`. The SDK is only imported where it is used (`requirements-otel.txt`); it reads the other OTEL_ variables.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, after_this_request, current_app, has_app_context, request

from app.core.db.measurement import counts
from app.core.db.unit_of_work import current_context
from app.core.process_end import at_process_end

EXTENSION = "tracer"
STATEMENTS = 200
"""Statements of one request or job that have spans; an import sends thousands."""

Finish = Callable[..., None]


def init_app(app: Flask) -> None:
    """Send the spans of this process, if the setting says where to."""
    if app.config["OTEL_EXPORTER_OTLP_ENDPOINT"] is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

    class IdsOfRequests(RandomIdGenerator):
        """A trace id for each request id, so that its jobs, in another process, have the same one."""

        def generate_trace_id(self) -> int:
            if not has_app_context():
                return super().generate_trace_id()
            text = current_context().request_id.encode()
            return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")

    provider = TracerProvider(resource=Resource.create({"service.name": "itam"}), id_generator=IdsOfRequests())
    endpoint = f"{app.config['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    at_process_end(provider.shutdown)
    app.extensions[EXTENSION] = provider
    app.before_request(_trace_request)


def begin(name: str, **attributes: Any) -> Finish:
    """Begin the span of a request or job; the function that is returned ends it, with further attributes."""
    provider = current_app.extensions[EXTENSION]
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - optional
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = current_context()
    parent = TraceContextTextMapPropagator().extract({"traceparent": context.traceparent or ""})
    tracer = provider.get_tracer("app.core.tracing")
    kind = SpanKind.SERVER if "http.request.method" in attributes else SpanKind.CONSUMER
    span = tracer.start_span(name, parent, kind, {"itam.request_id": context.request_id, **attributes})
    counts.trace = []

    def finish(**results: Any) -> None:
        statements, counts.trace = counts.trace or [], None
        if (user := current_context().user_id) is not None:
            span.set_attribute("enduser.id", str(user))
        inside = set_span_in_context(span)
        for text, ended, seconds in statements[:STATEMENTS]:
            words = {"db.query.text": text, "db.operation.name": text.split(maxsplit=1)[0]}
            began = ended - int(seconds * 1e9)
            tracer.start_span(words["db.operation.name"], inside, SpanKind.CLIENT, words, start_time=began).end(ended)
        span.set_attributes({**results, "itam.statements": len(statements)})
        span.end(time.time_ns())

    return finish


def _trace_request() -> None:
    route = "none" if request.url_rule is None else request.url_rule.rule
    attributes = {"http.request.method": request.method, "http.route": route}
    finish = begin(f"{request.method} {route}", **attributes)

    def end(response: Response) -> Response:
        finish(**{"http.response.status_code": response.status_code})
        return response

    after_this_request(end)
