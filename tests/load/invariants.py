"""What must be true of the database after traffic, whatever went wrong meanwhile."""

import itertools
from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa
from flask import Flask

from app.assets.models import Asset
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.gpus.models import Gpu, GpuAssignment
from app.imports.models import Import
from app.proof.report import Status
from app.proof.sealer import seal
from app.proof.verification import verify
from tests.load.traffic import IMPORTED_ROWS, Ledger
from tests.replay import assert_log_matches_tables

logs = AuditLog.__table__
held = GpuAssignment.__table__


def assert_all(app: Flask, ledger: Ledger) -> None:
    """Assert that records = changes, nothing acknowledged is lost, no GPU was held twice, and the log is intact."""
    assert_log_matches_tables(app)
    with app.app_context():
        violations = [*_lost_creations(ledger), *_lost_changes(ledger), *_lost_imports(ledger), *_gpus(ledger)]
        assert violations == []
        seal()
        report = verify()
    assert report.status is Status.INTACT, list(report.lines())


def unfinished_imports(app: Flask, ledger: Ledger) -> int:
    """How many accepted imports have not been applied yet."""
    with app.app_context():
        states = db.session.execute(sa.select(Import.id, Import.status)).all()
    return sum(row.id in ledger.imported and row.status.value != "applied" for row in states)


def _lost_creations(ledger: Ledger) -> Iterator[str]:
    """An acknowledged asset is there once, unless it was deleted."""
    rows = db.session.execute(sa.select(Asset.name, Asset.id)).all()
    counts = Counter(row.name for row in rows)
    paths = {f"/api/assets/{row.id}" for row in rows}
    yield from (f"{name} is there {count} times" for name, count in counts.items() if count > 1)
    for name, path in ledger.created.items():
        if path not in paths and path not in ledger.deleted:
            yield f"{name} is lost"
    yield from (f"{path} is not deleted" for path, is_done in ledger.deleted.items() if is_done and path in paths)


def _lost_changes(ledger: Ledger) -> Iterator[str]:
    """An acknowledged change has the record of its version."""
    statement = sa.select(logs.c.resource_id, logs.c.version, logs.c.changes)
    records = {
        (f"/api/servers/{row.resource_id}", row.version): row.changes.get("description", {}).get("new")
        for row in db.session.execute(statement.where(logs.c.resource_type == "servers", logs.c.version.is_not(None)))
    }
    for change in ledger.changed:
        if records.get((change.path, change.version)) != change.description:
            yield f"{change} is lost"


def _lost_imports(ledger: Ledger) -> Iterator[str]:
    """An accepted import has stored each of its rows once."""
    names = Counter(name.rpartition("-")[0] for name in db.session.scalars(sa.select(Asset.name)))
    for import_id, prefix in ledger.imported.items():
        if names[prefix] != IMPORTED_ROWS:
            yield f"import {import_id} has {names[prefix]} rows"


def _gpus(ledger: Ledger) -> Iterator[str]:
    """Nobody held a GPU while somebody else did, and each acknowledged assignment is in its history."""
    rows = db.session.execute(sa.select(held).order_by(held.c.gpu_id, held.c.assigned_at, held.c.id)).all()
    for before, after in itertools.pairwise(rows):
        if before.gpu_id == after.gpu_id and (before.released_at is None or before.released_at > after.assigned_at):
            yield f"GPU {before.gpu_id} was held twice"
    missing = Counter(ledger.assigned) - Counter((row.gpu_id, row.user_id) for row in rows)
    yield from (f"GPU {gpu}: the assignment to {user} is lost" for gpu, user in missing)
    holders = {row.gpu_id: row.user_id for row in rows if row.released_at is None}
    shown = {row.id: row.assigned_to_id for row in db.session.execute(sa.select(Gpu.id, Gpu.assigned_to_id))}
    for gpu, user in shown.items():
        if holders.get(gpu) != user:
            yield f"GPU {gpu} shows another holder than its history"
