"""An unchanged log is never reported as tampered, whatever is written and sealed during the verification."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.catalog import CATALOG
from app.core.audit import recorder
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.proof import sealer
from app.proof.report import Status
from app.proof.verification import verify
from app.resource.bulk import writer as bulk
from app.servers.models import Server
from tests.threads import TIMEOUT_SECONDS

RUNS = 34
"""On each of three databases."""


def one_by_one(turn: int) -> None:
    site = db.session.scalars(sa.select(Datacenter).order_by(Datacenter.id).limit(1).with_for_update()).one()
    site.location = f"hall {turn}"
    server = Server(name=f"node-{threading.get_ident()}-{turn}", datacenter_id=site.id)
    db.session.add(server)
    db.session.flush()
    server.owner = "somebody"
    if turn % 2:
        db.session.flush()
        db.session.delete(server)
    recorder.record("login", "users", 1, "somebody")
    db.session.commit() if turn % 5 else db.session.rollback()


def many_at_once(turn: int) -> None:
    resource = CATALOG["servers"]
    ids = bulk.allocate_ids(resource, 20)
    bulk.insert(resource, ids, [{"name": f"many-{turn}-{identity}"} for identity in ids], None)
    bulk.update(Server, [bulk.Change(identity, 1, "many", {"owner": None}, {"owner": "us"}) for identity in ids])
    db.session.commit() if turn % 3 else db.session.rollback()


def test_no_false_alarm_among_writers(app: Flask, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "BATCH_RECORDS", 50)
    make(Datacenter)
    done = threading.Event()

    def again_and_again(action: Callable[[int], object]) -> int:
        turns = 0
        while not done.is_set():
            turns += 1
            with app.app_context():
                action(turns)
            # Some hundred records are enough to look at so often.
            done.wait(0.05)
        return turns

    with ThreadPoolExecutor(5) as threads:
        writers = [
            threads.submit(again_and_again, action)
            for action in (one_by_one, one_by_one, many_at_once, lambda _: sealer.seal(), lambda _: sealer.seal())
        ]
        try:
            for _ in range(RUNS):
                with app.app_context():
                    report = verify(newest=200) if report_is_long(app) else verify()
                assert report.status is Status.INTACT, list(report.lines())
        finally:
            done.set()
        assert all(writer.result(TIMEOUT_SECONDS) > 1 for writer in writers)
    with app.app_context():
        sealer.seal()
        report = verify()
        assert (report.status, report.unsealed) == (Status.INTACT, 0)


def report_is_long(app: Flask) -> bool:
    with app.app_context():
        return (db.session.scalar(sa.select(sa.func.count()).select_from(AuditLog)) or 0) > 1000
