"""Statements of another client than the platform: refused as far as each database can, and found in any case."""

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.proof.report import FindingKind, Status
from app.proof.sealer import seal
from app.proof.verification import verify
from app.servers.models import Server
from tests.backends import Backend
from tests.factories import Make
from tests.proof.administrator import as_administrator

COPIED = {column.name: column.name for column in Server.__table__.columns} | {"id": "id + 4711", "name": "'forged'"}
CHANGES = {
    "changed": ("UPDATE servers SET owner = 'forged', version = version + 1", FindingKind.ROW_CHANGED),
    "inserted": (
        f"INSERT INTO servers ({', '.join(COPIED)}) SELECT {', '.join(COPIED.values())} FROM servers",
        FindingKind.ROW_INSERTED,
    ),
    "deleted": ("DELETE FROM servers", FindingKind.ROW_MISSING),
}
"""Changes of rows without an audit record, and what a verification calls each."""
EMPTYING = {"sqlite": "DELETE FROM {}", "postgresql": "TRUNCATE {} CASCADE", "mariadb": "TRUNCATE {}"}
EMPTIED = {
    "audit_logs": FindingKind.RECORD_MISSING,
    "audit_leaves": FindingKind.LEAF_MISSING,
    "audit_checkpoints": FindingKind.CHECKPOINT_MISSING,
    "servers": FindingKind.ROW_MISSING,
}


@pytest.fixture
def sealed(app: Flask, make: Make) -> Flask:
    make(Server, name="node")
    with app.app_context():
        seal()
    return app


def execute(app: Flask, *statements: str) -> None:
    """Execute statements and commit as any client of the database does."""
    with app.app_context(), db.engine.connect() as connection:
        for statement in (*statements, "COMMIT"):
            connection.exec_driver_sql(statement)


def findings(app: Flask) -> set[FindingKind]:
    with app.app_context():
        report = verify()
    assert report.status is Status.TAMPERED
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_is_changed_without_a_record(sealed: Flask, backend: Backend, change: str) -> None:
    statement, kind = CHANGES[change]
    if backend.name == "mariadb":
        # Nothing is checked at the commit of another client.
        execute(sealed, statement)
    else:
        with pytest.raises(sa.exc.DBAPIError):
            execute(sealed, statement)
        with as_administrator(sealed) as connection:
            connection.exec_driver_sql(statement)
    assert kind in findings(sealed)


@pytest.mark.parametrize("table", EMPTIED)
def test_a_table_that_is_emptied(sealed: Flask, backend: Backend, table: str) -> None:
    statement = EMPTYING[backend.name].format(table)
    with pytest.raises(sa.exc.DBAPIError):
        execute(sealed, statement)
    if backend.name == "mariadb":
        execute(sealed, "SET foreign_key_checks = 0", statement, "SET foreign_key_checks = 1")
    else:
        with as_administrator(sealed) as connection:
            connection.exec_driver_sql(statement)
    assert EMPTIED[table] in findings(sealed)
