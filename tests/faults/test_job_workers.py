"""Job workers as processes of their own: woken by Redis, killed while they work, told to stop."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.db.unit_of_work import db
from app.core.jobs.queue import Job
from app.servers.models import Server
from tests.backends import Backend, on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.features.conftest import workbook
from tests.server import environment, served
from tests.sessions import TABLE, is_waiting
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = on_servers

NEVER = 3600
NO_REDIS = "redis://127.0.0.1:1/0"
# `flask worker` with other intervals: shorter ones save time, longer ones must not help the test to pass.
PROGRAM = (
    "import sys; from app.core.jobs import runner; {}; "
    "from flask.cli import main; sys.argv = ['flask', 'worker']; main()"
)

HOLDING = {
    "postgresql": "LOCK TABLE servers IN SHARE MODE",
    "mariadb": "LOCK TABLES servers READ",
}

Worker = subprocess.Popen[str]
Start = Callable[..., Worker]


@pytest.fixture
def start(app: Flask, backend: Backend) -> Iterator[Start]:
    """Start `flask worker` on the migrated database, with other constants of its runner, and wait until it is ready."""
    with ExitStack() as stack:

        def start(redis_url: str = backend.settings().REDIS_URL or "", **seconds: float) -> Worker:
            # Reads each constant first, so that one that has been renamed fails instead of being ignored.
            changes = "; ".join(f"runner.{name}; runner.{name} = {value}" for name, value in seconds.items()) or "pass"
            environ = {**environment(backend.settings()), "FLASK_APP": "run", "REDIS_URL": redis_url}
            command = [sys.executable, "-c", PROGRAM.format(changes)]
            worker = stack.enter_context(
                subprocess.Popen(command, cwd=config.ROOT, env=environ, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(worker.kill)
            assert worker.stdout is not None
            assert worker.stdout.readline() == "Carrying out jobs.\n"
            return worker

        yield start


def queue(client: Client) -> int:
    """Upload a workbook that is applied without a confirmation."""
    content = workbook(Datacenters=[("Name",), ("SH-1",)], Servers=[("Name", "Datacenter"), ("n1", "SH-1")])
    form = {"file": (BytesIO(content), "fleet.xlsx"), "apply": "true"}
    return client.call("POST", "/api/imports", expect=202, data=form)["data"]["id"]  # type: ignore[no-any-return]


def status(client: Client, import_id: int) -> tuple[str, Any]:
    job = client.call("GET", f"/api/imports/{import_id}")["data"]
    return job["status"], job["problem"]


def is_applied(client: Client, import_id: int) -> bool:
    return status(client, import_id) == ("applied", None)


def jobs(app: Flask) -> list[tuple[str, int]]:
    with app.app_context():
        rows = db.session.execute(sa.select(Job.state, Job.attempts).where(Job.kind.like("import.%")))
        return [(state, attempts) for state, attempts in rows]


def servers(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(Server)) or 0


@contextmanager
def blocked_import(app: Flask, admin: Client) -> Iterator[int]:
    """An import that waits in the middle of its transaction until the block ends."""
    with app.app_context():
        engine = db.engine
    with engine.connect() as lock, lock.begin():
        lock.exec_driver_sql(HOLDING[engine.url.get_backend_name()])
        import_id = queue(admin)
        wait_until(lambda: is_waiting(engine, TABLE))
        yield import_id
        if engine.url.get_backend_name() == "mariadb":
            lock.exec_driver_sql("UNLOCK TABLES")


@any_database
def test_commit_wakes_a_worker(app: Flask, admin: Client, start: Start) -> None:
    start(POLL_SECONDS=NEVER)
    for _ in range(2):
        wait_until(partial(is_applied, admin, queue(admin)))


@any_database
def test_worker_polls_without_redis(build_app: BuildApp, document: Any, admin: Client, start: Start) -> None:
    start(redis_url=NO_REDIS)
    client = Client(build_app(REDIS_URL=NO_REDIS), document, admin.token)
    wait_until(partial(is_applied, client, queue(client)))


@any_database
def test_worker_stops_cleanly_on_a_signal(start: Start) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = start()
        worker.send_signal(number)
        assert worker.wait(TIMEOUT_SECONDS) == 0


@any_database
def test_worker_stops_while_its_main_thread_hears_nothing(start: Start) -> None:
    """The signal reaches another thread, so that nothing interrupts what the main thread waits for."""
    worker = start()
    tasks = Path(f"/proc/{worker.pid}/task")
    other = next(int(task.name) for task in tasks.iterdir() if task.name != str(worker.pid))
    assert ctypes.CDLL(None).tgkill(worker.pid, other, signal.SIGTERM) == 0
    assert worker.wait(TIMEOUT_SECONDS) == 0


def test_stopped_worker_returns_its_job(app: Flask, admin: Client, start: Start) -> None:
    """Work beyond the grace period is rolled back, and the next worker need not wait for the lease to expire."""
    worker = start(GRACE_SECONDS=0.2)
    with blocked_import(app, admin) as import_id:
        worker.terminate()
        assert worker.wait(TIMEOUT_SECONDS) == 0
        assert jobs(app) == [("queued", 0)]
    assert (status(admin, import_id), servers(app)) == (("applying", None), 0)
    start(POLL_SECONDS=NEVER)
    wait_until(partial(is_applied, admin, import_id))
    # The import commits a moment before its job is marked as done.
    wait_until(lambda: jobs(app) == [("done", 1)])
    assert servers(app) == 1


def test_server_replaces_a_killed_worker_which_finishes_the_job(app: Flask, admin: Client, backend: Backend) -> None:
    """The worker is killed in the middle of an import, and its lease has the duration of production."""
    redis_url = backend.settings().REDIS_URL or ""
    with served(backend.settings(), REDIS_URL=redis_url, WORKERS="1") as server:
        with blocked_import(app, admin) as import_id:
            with app.app_context():
                holder = db.session.scalar(sa.select(Job.holder).where(Job.state == "running")) or ""
            os.kill(int(holder.partition("-")[0]), signal.SIGKILL)
            assert jobs(app) == [("running", 1)]
        assert (status(admin, import_id), servers(app)) == (("applying", None), 0)
        wait_until(partial(is_applied, admin, import_id))
        wait_until(lambda: jobs(app) == [("done", 2)])
        assert servers(app) == 1
        assert server.call("GET", "/api/health/ready").body["data"]["queue"] == "ok"
    records = admin.call("GET", "/api/audit-logs", query_string={"resource_type": "servers"})["data"]
    assert [(record["action"], record["resource_name"]) for record in records] == [("create", "n1")]
