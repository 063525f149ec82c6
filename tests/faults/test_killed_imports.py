"""kill -9 in the middle of an import: all of it or nothing, and its job says which."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.jobs.queue import Job
from app.core.values import utcnow
from app.imports import service
from app.servers.models import Server
from tests.backends import Backend
from tests.client import Client
from tests.features.conftest import workbook

KILLS = 25
KILLS_OF_REVERSALS = 10
ROWS = 200


class Workers:
    """Worker processes on the tests' database, one after the other."""

    def __init__(self, backend: Backend) -> None:
        settings = backend.settings()
        program = [sys.executable, "-m", "tests.faults.worker"]
        arguments = [
            settings.SQLALCHEMY_DATABASE_URI,
            settings.REDIS_URL or "",
            str(settings.UPLOAD_DIR),
            settings.REDIS_PREFIX,
        ]
        self._process = subprocess.Popen(
            [*program, *arguments], cwd=config.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def run(self, *, kill_after: float | None = None) -> float:
        """Let a worker carry out what is queued, or kill it after so many seconds; answers how long it lived."""
        self._ask()
        pid, began = int(self._line()), time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        self._ask()
        assert self._line() in ("0", str(-signal.SIGKILL))
        return time.perf_counter() - began

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def workers(app: Flask, backend: Backend) -> Iterator[Workers]:
    workers = Workers(backend)
    yield workers
    workers.close()


def queue(client: Client, name: str) -> int:
    """Upload a workbook of so many servers to be applied at once, and leave it to the workers."""
    rows = [("Name", "Datacenter", "CPU Cores"), *((f"{name}-{n:04}", name, n) for n in range(ROWS))]
    content = workbook(Datacenters=[("Name",), (name,)], Servers=rows)
    form = {"file": (BytesIO(content), f"{name}.xlsx"), "apply": "true"}
    return client.call("POST", "/api/imports", expect=202, data=form)["data"]["id"]  # type: ignore[no-any-return]


def stored(app: Flask, name: str) -> tuple[int, int]:
    """How many of the servers are there, and how many records of them."""
    with app.app_context():
        count = sa.select(sa.func.count())
        servers = count.select_from(Server).where(Server.name.like(f"{name}-%"))
        records = count.select_from(AuditLog).where(AuditLog.resource_name.like(f"{name}-%"))
        return db.session.scalar(servers) or 0, db.session.scalar(records) or 0


def let_lease_expire(app: Flask) -> None:
    """What happens by itself half a minute after the last renewal."""
    with app.app_context():
        past: Any = utcnow() - timedelta(seconds=1)
        db.session.execute(sa.update(Job).where(Job.state == "running").values(lease_expires_at=past))
        db.session.commit()


def test_a_killed_worker_leaves_all_of_an_import_or_nothing(app: Flask, admin: Client, workers: Workers) -> None:
    queue(admin, "unharmed")
    lasts = workers.run()
    assert stored(app, "unharmed") == (ROWS, ROWS)
    moments = random.Random(20260731)
    undone = 0
    for number in range(KILLS):
        name = f"killed{number}"
        import_id = queue(admin, name)
        workers.run(kill_after=moments.uniform(0, lasts))
        servers, records = stored(app, name)
        assert (servers, records) in ((0, 0), (ROWS, ROWS))
        undone += not servers
        let_lease_expire(app)
        workers.run()
        job = admin.call("GET", f"/api/imports/{import_id}")["data"]
        assert (job["status"], job["problem"]) == ("applied", None)
        assert stored(app, name) == (ROWS, ROWS)
    assert undone, "Some were killed before their end."


def test_a_killed_worker_leaves_an_import_whole_or_undone(
    app: Flask, admin: Client, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_REVERTED_ROWS", 0)

    def begin_to_undo(name: str) -> str:
        path = f"/api/imports/{queue(admin, name)}"
        workers.run()
        assert stored(app, name) == (ROWS, ROWS)
        admin.call("POST", f"{path}/revert", expect=202)
        return path

    begin_to_undo("unharmed")
    lasts = workers.run()
    assert stored(app, "unharmed") == (0, 2 * ROWS)
    moments = random.Random(20260801)
    whole = 0
    for number in range(KILLS_OF_REVERSALS):
        name = f"undone{number}"
        path = begin_to_undo(name)
        workers.run(kill_after=moments.uniform(0, lasts))
        servers, records = stored(app, name)
        assert (servers, records) in ((ROWS, ROWS), (0, 2 * ROWS))
        whole += bool(servers)
        let_lease_expire(app)
        workers.run()
        job = admin.call("GET", path)["data"]
        assert (job["status"], job["problem"]) == ("reverted", None)
        assert stored(app, name) == (0, 2 * ROWS)
    assert whole, "Some were killed before their end."
