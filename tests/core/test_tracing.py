"""Traces: an OTLP receiver of our own decodes what a request and its job send; else nothing is loaded."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import config
from app.core.jobs.runner import runner_of
from tests.client import Client
from tests.conftest import BuildApp
from tests.features.conftest import workbook


class Receiver:
    """An HTTP server that keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        receiver.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.mark.parametrize("parent", ["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_a_request_and_its_job_are_one_trace(
    build_app: BuildApp, receiver: Receiver, admin: Client, parent: str
) -> None:
    app = build_app(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    headers = {"Authorization": f"Bearer {admin.token}", "X-Request-ID": "traced-0001", "traceparent": parent}
    form = {"file": (BytesIO(workbook(Servers=[("Name",), ("canary-value",)])), "a.xlsx")}
    assert app.test_client().post("/api/imports", data=form, headers=headers).status_code == 202
    runner_of(app).run_pending()
    app.extensions["tracer"].shutdown()
    by_name = {span.name: span for span in receiver.spans}
    request, job = by_name["POST /api/imports"], by_name["job import.plan"]
    assert attributes(request)["http.response.status_code"] == 202
    assert attributes(request)["itam.request_id"] == attributes(job)["itam.request_id"] == "traced-0001"
    assert attributes(request)["enduser.id"] == str(admin.user.id)
    assert request.trace_id == job.trace_id
    if parent:
        assert (request.trace_id.hex(), request.parent_span_id.hex()) == tuple(parent.split("-")[1:3])
    statements = [span for span in receiver.spans if span.parent_span_id == request.span_id]
    assert len(statements) == attributes(request)["itam.statements"] > 3
    assert all(
        request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in statements
    )
    assert "INSERT" in {span.name for span in statements}
    assert not any("canary-value" in str(span) or admin.token in str(span) for span in receiver.spans)


def test_without_the_setting_nothing_is_imported() -> None:
    program = "import sys, config, app; app.create_app(config.load()); print('opentelemetry.exporter' in sys.modules)"
    environ = {"FLASK_ENV": "testing", "PATH": ""}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=config.ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
