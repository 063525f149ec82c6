"""Fifty people who want the same GPU in the same moment, a hundred times over."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import Any, Self

import sqlalchemy as sa
from flask import Flask

from app.core.audit.models import AuditLog
from app.core.audit.recorder import audited
from app.core.db.unit_of_work import db, transactional
from app.core.http.access import Actor, Role, act_as
from app.gpus import service
from app.gpus.models import Gpu, GpuAssignment
from app.servers.models import Server
from app.users.models import User
from tests.factories import Make
from tests.threads import PATIENCE

PEOPLE, TIMES = 50, 100
AT_THE_GATE = 10
"""Requests that the gate lets through together: fewer than there are connections, so that they all get there."""


class Gate:
    """Holds everybody at the statement that locks the row, until some of them are there.

    SQLite has no such statement: there one transaction begins when the other is over.
    """

    def __init__(self, app: Flask) -> None:
        with app.app_context():
            self._engine = db.engine
        self._barrier = Barrier(AT_THE_GATE)
        self._here = local()

    def __enter__(self) -> Self:
        sa.event.listen(self._engine, "before_cursor_execute", self._wait)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "before_cursor_execute", self._wait)

    def expect(self) -> None:
        """This thread is about to send a request."""
        self._here.expected = True

    def _wait(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement and getattr(self._here, "expected", False):
            self._here.expected = False
            self._barrier.wait(PATIENCE)


def test_each_gpu_has_one_holder(app: Flask, make: Make) -> None:
    """Below HTTP, where requests cost the least: that answers are what they should be, others see."""
    server = make(Server)
    gpus = [make(Gpu, server_id=server.id, slot=slot).id for slot in range(TIMES)]
    people = [make(User) for _ in range(PEOPLE)]
    together = Barrier(PEOPLE)

    def take_each(person: User) -> list[Any]:
        """Who holds each GPU, as this person is told who asked for it together with all others."""
        told = []
        for gpu_id in gpus:
            together.wait(PATIENCE)
            gate.expect()
            with app.app_context():
                act_as(Actor(id=person.id, username=person.username, role=Role.USER))
                told.append(take(gpu_id, person.id))
        return told

    @transactional
    @audited("assign")
    def take(gpu_id: int, user_id: int) -> tuple[bool, int]:
        try:
            gpu = service.locked(gpu_id)
            service.assign(gpu, user_id, None, None)
        except service.GpuNotAvailable as error:
            db.session.rollback()
            return False, error.facts["holder"]["id"]
        return True, user_id

    with Gate(app) as gate, ThreadPoolExecutor(PEOPLE) as threads:
        told_to_all = list(threads.map(take_each, people))
    holders: dict[int, int] = {}
    for gpu_id, told in zip(gpus, zip(*told_to_all, strict=True), strict=True):
        (holders[gpu_id],) = {holder for _, holder in told}
        assert Counter(won for won, _ in told) == {True: 1, False: PEOPLE - 1}
    with app.app_context():
        held = sa.select(Gpu.id, Gpu.assigned_to_id, Gpu.version)
        assert {tuple(row) for row in db.session.execute(held)} == {(gpu, user, 2) for gpu, user in holders.items()}
        assignments = db.session.execute(sa.select(GpuAssignment.gpu_id, GpuAssignment.user_id)).all()
        assert sorted(map(tuple, assignments)) == sorted(holders.items())
        records = sa.select(AuditLog.resource_id, AuditLog.user_id).where(AuditLog.action == "assign")
        assert sorted(map(tuple, db.session.execute(records))) == sorted(holders.items())
