"""kill -9 at random moments of an import: all or nothing is stored, and the import's status tells which."""

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
REVERT_KILLS = 10
ROWS = 200


class Workers:
    """Worker processes on the test database, one after the other."""

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
        """Let a worker run the queued jobs, or kill it after so many seconds; returns how long it ran."""
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
    """Upload a workbook of ROWS servers that is applied without a confirmation."""
    rows = [("Name", "Datacenter", "CPU Cores"), *((f"{name}-{n:04}", name, n) for n in range(ROWS))]
    content = workbook(Datacenters=[("Name",), (name,)], Servers=rows)
    form = {"file": (BytesIO(content), f"{name}.xlsx"), "apply": "true"}
    return client.call("POST", "/api/imports", expect=202, data=form)["data"]["id"]  # type: ignore[no-any-return]


def stored(app: Flask, name: str) -> tuple[int, int]:
    """The number of stored servers, and of their audit records."""
    with app.app_context():
        count = sa.select(sa.func.count())
        servers = count.select_from(Server).where(Server.name.like(f"{name}-%"))
        records = count.select_from(AuditLog).where(AuditLog.resource_name.like(f"{name}-%"))
        return db.session.scalar(servers) or 0, db.session.scalar(records) or 0


def expire_leases(app: Flask) -> None:
    """Expire the leases, as half a minute without a renewal does."""
    with app.app_context():
        past: Any = utcnow() - timedelta(seconds=1)
        db.session.execute(sa.update(Job).where(Job.state == "running").values(lease_expires_at=past))
        db.session.commit()


def test_killed_worker_leaves_all_of_an_import_or_nothing(app: Flask, admin: Client, workers: Workers) -> None:
    queue(admin, "unharmed")
    duration = workers.run()
    assert stored(app, "unharmed") == (ROWS, ROWS)
    rng = random.Random(20260731)
    rolled_back = 0
    for number in range(KILLS):
        name = f"killed{number}"
        import_id = queue(admin, name)
        workers.run(kill_after=rng.uniform(0, duration))
        servers, records = stored(app, name)
        assert (servers, records) in ((0, 0), (ROWS, ROWS))
        rolled_back += not servers
        expire_leases(app)
        workers.run()
        import_ = admin.call("GET", f"/api/imports/{import_id}")["data"]
        assert (import_["status"], import_["problem"]) == ("applied", None)
        assert stored(app, name) == (ROWS, ROWS)
    assert rolled_back, "No worker was killed before its commit."


def test_killed_worker_leaves_an_import_applied_or_reverted(
    app: Flask, admin: Client, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_REVERTED_ROWS", 0)

    def queue_revert(name: str) -> str:
        path = f"/api/imports/{queue(admin, name)}"
        workers.run()
        assert stored(app, name) == (ROWS, ROWS)
        admin.call("POST", f"{path}/revert", expect=202)
        return path

    queue_revert("unharmed")
    duration = workers.run()
    assert stored(app, "unharmed") == (0, 2 * ROWS)
    rng = random.Random(20260801)
    unreverted = 0
    for number in range(REVERT_KILLS):
        name = f"reverted{number}"
        path = queue_revert(name)
        workers.run(kill_after=rng.uniform(0, duration))
        servers, records = stored(app, name)
        assert (servers, records) in ((ROWS, ROWS), (0, 2 * ROWS))
        unreverted += bool(servers)
        expire_leases(app)
        workers.run()
        import_ = admin.call("GET", path)["data"]
        assert (import_["status"], import_["problem"]) == ("reverted", None)
        assert stored(app, name) == (0, 2 * ROWS)
    assert unreverted, "No worker was killed before its commit."
