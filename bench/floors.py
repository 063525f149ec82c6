"""Processor time of a request: a WSGI function, bare views of the frameworks, and the platform's own views.

All run in this process, without a server, in short bursts in turn. The least of the bursts counts, because other work
on the machine only ever adds. What a row takes more than the one above it is the cost of that part.
"""

import io
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response
from flask_smorest import Api
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import Schema, fields

from app.core.http.access import Role, public, requires
from app.core.http.api import Blueprint
from bench.imports import log_in
from bench.scratch import scratch

BURSTS, REQUESTS = 100, 20
BODY = b'{"code":0,"message":"success","data":null}'

WsgiApplication = Callable[..., Iterable[bytes]]


class QuerySchema(Schema):
    as_of = fields.DateTime()


class AnswerSchema(Schema):
    code = fields.Integer()
    message = fields.String()
    data = fields.Raw(allow_none=True)


def run(bursts: int = BURSTS) -> None:
    """Print the microseconds of each request."""
    with scratch() as database:
        add_floors(database.app)
        client = log_in(database)
        server = {"name": "web-1", "memory_gb": 512, "owner": "team-atlas", "tags": ["prod"]}
        path = client.post("/api/servers", json=server).headers["Location"]
        token = client.environ_base["HTTP_AUTHORIZATION"]
        requests = (
            ("a WSGI function", bare_function, "/"),
            ("a view of Flask", flask_view(), "/floor"),
            ("a view of flask-smorest, with a schema for its query and one for its answer", smorest_view(), "/floor"),
            ("ours, open to everybody", database.app, "/api/floor/open"),
            ("ours, for signed-in users: one statement", database.app, "/api/floor/signed-in"),
            ("ours, one server: two statements", database.app, path),
        )
        least = dict.fromkeys((name for name, _, _ in requests), float("inf"))
        for _ in range(bursts):
            for name, application, path in requests:
                least[name] = min(least[name], burst(application, path, token))
    print(f"floors: µs of processor time of this process, the least of {bursts} bursts of {REQUESTS} requests")
    for name, seconds in least.items():
        print(f"  {name:76} {1e6 * seconds:6.0f}")


def burst(application: WsgiApplication, path: str, token: str) -> float:
    """Seconds of processor time of one request."""
    environs = [environ(path, token) for _ in range(REQUESTS)]
    began = time.process_time()
    for each in environs:
        parts = application(each, require_success)
        b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
    return (time.process_time() - began) / REQUESTS


def require_success(status: str, _headers: list[tuple[str, str]], _error: Any = None) -> None:
    if not status.startswith("200"):
        raise RuntimeError(f"A request was answered with {status}.")


def environ(path: str, token: str) -> dict[str, Any]:
    """A request as Granian hands it over."""
    return {
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:5000",
        "HTTP_AUTHORIZATION": token,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def bare_function(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def flask_view() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/floor", view_func=lambda: Response(BODY, mimetype="application/json"), endpoint="floor")
    return app


def smorest_view() -> Flask:
    app = Flask(__name__)
    app.config.update(API_TITLE="Floor", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    blueprint = SmorestBlueprint("floor", __name__)

    @blueprint.route("/floor")
    @blueprint.arguments(QuerySchema, location="query")
    @blueprint.response(200, AnswerSchema)
    def floor(_query: dict[str, Any]) -> dict[str, Any]:
        return {"code": 0, "message": "success", "data": None}

    Api(app).register_blueprint(blueprint)
    return app


def add_floors(app: Flask) -> None:
    """Add two views that answer nothing, but pass all that every request passes."""
    blueprint = Blueprint("floor", __name__, url_prefix="/api/floor")

    @blueprint.get("/open")
    @public
    @blueprint.response(200)
    def floor_for_everybody() -> None:
        """Answer nothing."""

    @blueprint.get("/signed-in")
    @requires(Role.USER)
    @blueprint.response(200)
    def floor_for_users() -> None:
        """Answer nothing to signed-in users."""

    app.extensions["api"].register_blueprint(blueprint)
