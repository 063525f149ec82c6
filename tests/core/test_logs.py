"""The log: one line for each request and job, all of a request under its id, slow statements, and no secret in it."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.db import measurement
from app.core.db.unit_of_work import db, reading, writing
from app.core.http import logs
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import runner_of
from app.core.mail.outbox import decrypt, outbox
from app.servers.models import Server
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.conftest import workbook
from tests.spread import any_database

pytestmark = any_database

Line = dict[str, Any]


class Log:
    """What was logged since the test began."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, event: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def log() -> Iterator[Log]:
    """Collect the lines of applications that are built meanwhile."""
    collected = Log()
    yield collected
    logs.configure("ERROR", readable=False)


@pytest.fixture
def logging_app(build_app: BuildApp, log: Log) -> Flask:
    app = build_app(LOG_LEVEL="INFO")
    logs.configure("INFO", readable=False, stream=log.stream)
    return app


def test_a_request_is_one_line(logging_app: Flask, log: Log, user: Client, make: Make) -> None:
    for _ in range(3):
        make(Server)
    headers = {"Authorization": f"Bearer {user.token}", "X-Request-ID": "seek-me-0001"}
    # The first connection of an engine is asked for its properties.
    logging_app.test_client().get("/api/tasks", headers=headers)
    sent: list[str] = []
    with logging_app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    answer = logging_app.test_client().get("/api/servers?sort=-name", headers=headers)
    line = log.of("request")[-1]
    assert {name: line[name] for name in ("request_id", "user_id", "method", "route", "status", "bytes", "level")} == {
        "request_id": "seek-me-0001",
        "user_id": user.user.id,
        "method": "GET",
        "route": "/api/servers",
        "status": 200,
        "bytes": len(answer.data),
        "level": "info",
    }
    assert line["statements"] == len(sent) >= 2
    # The session and three servers.
    assert line["rows"] >= 4
    assert line["ms"] > 0


def test_answers_without_a_body_have_no_bytes(logging_app: Flask, log: Log, user: Client) -> None:
    headers = {"Authorization": f"Bearer {user.token}"}
    browser = logging_app.test_client()
    etag = browser.get("/api/servers", headers=headers).headers["ETag"]
    browser.head("/api/servers", headers=headers)
    browser.get("/api/servers", headers={**headers, "If-None-Match": etag})
    browser.get("/api/nowhere/4711")
    shown = [(line["route"], line["status"], line["bytes"] > 0) for line in log.of("request")]
    assert shown == [
        *(("/api/servers", 200, True), ("/api/servers", 200, False), ("/api/servers", 304, False)),
        ("none", 404, True),
    ]


def test_a_streamed_file_is_logged_at_its_end(logging_app: Flask, log: Log, user: Client, make: Make) -> None:
    for _ in range(5):
        make(Server)
    headers = {"Authorization": f"Bearer {user.token}", "X-Request-ID": "export-0001"}
    answer = logging_app.test_client().get("/api/servers/export?format=csv", headers=headers)
    size = len(answer.data)
    answer.close()
    (line,) = log.of("request")
    assert (line["bytes"], line["request_id"], line["user_id"]) == (size, "export-0001", user.user.id)
    assert line["rows"] >= 5


def test_one_id_finds_the_request_and_its_jobs(logging_app: Flask, log: Log, admin: Client) -> None:
    headers = {"Authorization": f"Bearer {admin.token}", "X-Request-ID": "import-0001"}
    file = BytesIO(workbook(Servers=[("Name", "CPU Cores"), ("a", 32)]))
    form = {"apply": "true", "file": (file, "one.xlsx")}
    assert logging_app.test_client().post("/api/imports", data=form, headers=headers).status_code == 202
    runner_of(logging_app).run_pending()
    mine = [line for line in log.lines if line["request_id"] == "import-0001"]
    assert [line["event"] for line in mine] == ["request", *["job"] * (len(mine) - 1)]
    assert {(line["kind"], line["outcome"]) for line in mine[1:]} == {("import.plan", "done")}
    assert all(line["user_id"] == admin.user.id and line["statements"] > 0 for line in mine)
    records = admin.call("GET", "/api/audit-logs?request_id=import-0001&resource_type=servers")["data"]
    assert [record["action"] for record in records] == ["create"]


def test_a_job_that_fails_is_found_by_its_request(logging_app: Flask, log: Log) -> None:
    def fail(_subject: int) -> None:
        raise RuntimeError("broken")

    runner = runner_of(logging_app)
    runner.register("test.fail", fail, lambda *_: None, lane="test")
    with logging_app.test_request_context(headers={"X-Request-ID": "will-fail-01"}), writing():
        enqueue("test.fail", 7)
    runner.run_pending()
    failed, ended = (line for line in log.lines if line["request_id"] == "will-fail-01")
    assert (failed["event"], failed["kind"], failed["subject"]) == ("job_failed", "test.fail", 7)
    assert "RuntimeError: broken" in failed["exception"]
    assert (ended["event"], ended["outcome"]) == ("job", "failed")


def test_a_slow_statement_is_logged_with_its_shape(
    logging_app: Flask, log: Log, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made slow by a clock that jumps with each reading."""
    make(Server, name="planted-value")
    logging_app.config["SLOW_STATEMENT_MS"] = 900
    ticks = iter(range(100_000))
    monkeypatch.setattr(measurement.time, "perf_counter", lambda: float(next(ticks)))
    with logging_app.test_request_context(headers={"X-Request-ID": "slow-0001"}), reading():
        db.session.execute(sa.select(Server.id).where(Server.name == "planted-value")).all()
    (line,) = [line for line in log.of("slow_statement") if line["statement"].startswith("SELECT servers.id")][:1]
    assert (line["request_id"], line["level"]) == ("slow-0001", "warning")
    assert line["ms"] >= 1000
    assert line["statement"].startswith("SELECT servers.id FROM servers WHERE")
    assert "servers" in line["plan"]
    assert "planted-value" not in log.stream.getvalue()


def test_writes_are_not_explained(logging_app: Flask, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a transaction, an error of EXPLAIN would undo the work."""
    ticks = iter(range(100_000))
    monkeypatch.setattr(measurement.time, "perf_counter", lambda: float(next(ticks)))
    with logging_app.app_context(), writing():
        enqueue("test", 1)
    (line,) = [line for line in log.of("slow_statement") if line["statement"].startswith("INSERT")]
    assert "plan" not in line


def test_a_read_of_the_driver_counts_what_it_fetches(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        before = measurement.counts.rows
        pair = sa.select(sa.literal(1)).union_all(sa.select(sa.literal(2)))
        connection.execute(pair).all()
        connection.execute(pair).first()
        for _ in connection.execution_options(yield_per=1).execute(pair):
            pass
        assert 5 <= measurement.counts.rows - before <= 6


def test_no_secret_is_logged(build_app: BuildApp, log: Log, admin: Client, make: Make) -> None:
    """Passwords, tokens, cookies and one-time links, sent and answered, in every place where a request has some."""
    app = build_app(LOG_LEVEL="DEBUG", FLASK_ENV="production")
    logs.configure("DEBUG", readable=False, stream=log.stream)
    browser = app.test_client()
    secrets = {PASSWORD, "wrong-passw0rd-canary", "bearer-canary", "cookie-canary", "query-canary", admin.token}
    bearer = {"Authorization": f"Bearer {admin.token}"}

    def tell(value: Any) -> None:
        for name, part in value.items() if isinstance(value, dict) else ():
            if isinstance(part, str) and ("token" in name or name in ("url", "link", "csrf")):
                secrets.add(part.rpartition("/")[2])
            tell(part)

    def post(address: str, headers: dict[str, str] | None = None, /, **body: Any) -> Any:
        answer = browser.post(address, json=body, headers=headers)
        tell(answer.json)
        return answer

    username = admin.user.username
    assert post("/api/auth/login", username=username, password="wrong-passw0rd-canary").status_code == 401
    assert post("/api/auth/login", username=username, password=PASSWORD).status_code == 200
    same_origin = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert post("/api/auth/browser/login", same_origin, username=username, password=PASSWORD).status_code == 200
    assert post("/api/auth/tokens", bearer, name="ci", scopes=["write"]).status_code == 201
    assert post("/api/downloads", bearer, path="/api/servers/export").status_code == 201
    assert post(f"/api/users/{admin.user.id}/reset-password", bearer).status_code == 202
    with app.app_context():
        (mail,) = db.session.scalars(sa.select(outbox.c.content))
        secrets.update(re.findall(r"(?<=token=)[\w.-]+", decrypt(mail)["txt"]))
    assert len(secrets) > 8
    post("/api/auth/reset-password", token="bearer-canary", password="wrong-passw0rd-canary")
    for cookie in browser._cookies.values():
        secrets.add(cookie.value)
    browser.get("/api/servers?token=query-canary", headers={"Authorization": "Bearer bearer-canary"})
    browser.get("/api/downloads/query-canary", headers={"Cookie": "itam_access=cookie-canary"})
    incomplete = sa.insert(sa.table("jobs", sa.column("kind"))).values(kind="query-canary")

    def fail(_subject: int) -> None:
        # PostgreSQL's error quotes the row; the traceback quotes this line.
        with writing():
            db.session.execute(incomplete)

    runner_of(app).register("test.fail", fail, lambda *_: None, lane="test")
    with app.app_context(), writing():
        enqueue("test.fail", 7)
    runner_of(app).run_pending()
    assert len(log.of("request")) >= 8
    (failed,) = log.of("job_failed")
    assert re.search("null value|NOT NULL|default value", str(failed))
    assert not [secret for secret in secrets if secret and secret in log.stream.getvalue()]


def test_what_libraries_log_has_the_same_form() -> None:
    program = """
import logging
from app.core.http import logs
logs.configure("INFO", readable=False)
logging.getLogger("sqlalchemy.pool").warning("%s is full", "the pool")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=config.ROOT, capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)
    assert (line["event"], line["level"]) == ("the pool is full", "warning")


def test_developers_read_text() -> None:
    program = """
from app.core.http import logs
import structlog
logs.configure("INFO", readable=True)
structlog.get_logger().info("request", method="GET", route="/api/servers", status=200, ms=3.1)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=config.ROOT, capture_output=True, text=True, check=True)
    assert "request" in done.stderr
    assert "route=/api/servers" in done.stderr
    assert "{" not in done.stderr
