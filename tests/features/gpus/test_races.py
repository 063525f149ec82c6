"""Fifty users assign the same GPU to themselves at the same moment, for 40 GPUs on each database."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import Any, Self

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.audit.models import AuditLog
from app.core.audit.recorder import audited
from app.core.db.unit_of_work import db, transactional
from app.core.http.access import Actor, Role, act_as
from app.gpus import service
from app.gpus.models import Gpu, GpuAssignment
from app.gpus.routes import resource
from app.resource import get_locked
from app.servers.models import Server
from app.users.models import User
from tests.factories import Make
from tests.threads import TIMEOUT_SECONDS

USERS, GPUS = 50, 40
GATE_SIZE = 10
"""Threads that the gate releases together; fewer than connections, or they would never all arrive."""


class Gate:
    """Holds threads at the statement that locks the row, until GATE_SIZE of them have arrived.

    SQLite has no row locks: its write transactions follow one another.
    """

    def __init__(self, app: Flask) -> None:
        with app.app_context():
            self._engine = db.engine
        self._barrier = Barrier(GATE_SIZE)
        self._thread = local()

    def __enter__(self) -> Self:
        sa.event.listen(self._engine, "before_cursor_execute", self._wait)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "before_cursor_execute", self._wait)

    def expect(self) -> None:
        """This thread is about to send a request."""
        self._thread.expected = True

    def _wait(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement and getattr(self._thread, "expected", False):
            self._thread.expected = False
            self._barrier.wait(TIMEOUT_SECONDS)


@pytest.mark.race(GPUS)
def test_each_gpu_gets_exactly_one_holder(app: Flask, make: Make) -> None:
    """Calls the service directly, which is faster than HTTP; other tests cover the responses."""
    server = make(Server)
    gpus = [make(Gpu, server_id=server.id, slot=slot).id for slot in range(GPUS)]
    users = [make(User) for _ in range(USERS)]
    start = Barrier(USERS)

    def assign_each(user: User) -> list[tuple[bool, int]]:
        """For each GPU, whether this user won, and the holder that the service names."""
        results = []
        for gpu_id in gpus:
            start.wait(TIMEOUT_SECONDS)
            gate.expect()
            with app.app_context():
                act_as(Actor(id=user.id, username=user.username, role=Role.USER))
                results.append(assign(gpu_id, user.id))
        return results

    @transactional
    @audited("assign")
    def assign(gpu_id: int, user_id: int) -> tuple[bool, int]:
        try:
            gpu = get_locked(resource, gpu_id)
            service.assign(gpu, user_id, None, None)
        except service.GpuNotAvailable as error:
            db.session.rollback()
            return False, error.facts["holder"]["id"]
        return True, user_id

    with Gate(app) as gate, ThreadPoolExecutor(USERS) as threads:
        results_of_users = list(threads.map(assign_each, users))
    holders: dict[int, int] = {}
    for gpu_id, results in zip(gpus, zip(*results_of_users, strict=True), strict=True):
        (holders[gpu_id],) = {holder for _, holder in results}
        assert Counter(won for won, _ in results) == {True: 1, False: USERS - 1}
    with app.app_context():
        held = sa.select(Gpu.id, Gpu.assigned_to_id, Gpu.version)
        assert {tuple(row) for row in db.session.execute(held)} == {(gpu, user, 2) for gpu, user in holders.items()}
        assignments = db.session.execute(sa.select(GpuAssignment.gpu_id, GpuAssignment.user_id)).all()
        assert sorted(map(tuple, assignments)) == sorted(holders.items())
        records = sa.select(AuditLog.resource_id, AuditLog.user_id).where(AuditLog.action == "assign")
        assert sorted(map(tuple, db.session.execute(records))) == sorted(holders.items())
