"""A MariaDB server whose administrator has chosen other defaults than ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import create_app
from app.core.db.schema import schema_problem
from app.core.db.unit_of_work import db
from tests import backends
from tests.backends import Missing
from tests.conftest import close, leave_out
from tests.faults import mariadb_server
from tests.faults.mariadb_server import MariadbServer
from tests.faults.test_database_limits import assert_holds, create, on_cluster
from tests.mariadb import on_mariadb
from tests.openapi import Document

BINARY_LOG = {"log-bin": "binlog", "log-bin-trust-function-creators": "1"}
OTHER_DEFAULTS = {
    **BINARY_LOG,
    "sql-mode": "ANSI",
    "transaction-isolation": "SERIALIZABLE",
    "character-set-server": "latin1",
    "default-storage-engine": "MyISAM",
    "default-time-zone": "+05:30",
}


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    try:
        with mariadb_server.running() as server:
            yield server
    except Missing as missing:
        leave_out(missing)


@on_mariadb
def test_what_a_session_can_set_is_set(server: MariadbServer, document: Document, tmp_path: Path) -> None:
    server.stop()
    server.settings = OTHER_DEFAULTS
    server.start()
    with on_cluster(server, document, tmp_path) as limited:
        assert create(limited.client, "a site", 201)
        assert_holds(limited.app, limited.client, ["a site"])


def test_what_no_session_can_set_is_refused(server: MariadbServer, tmp_path: Path) -> None:
    """A log of statements repeats nothing of transactions that see what others commit meanwhile."""
    server.stop()
    server.settings = {**BINARY_LOG, "binlog-format": "STATEMENT"}
    server.start()
    with server.database() as name:
        app = create_app(backends.testing(server.url(name), None, tmp_path, "itam-settings"))
        with app.app_context():
            assert "set binlog_format = ROW or MIXED" in str(schema_problem(db.engine))
        assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 1
        close(app)
