"""Redis, the database, mail and AI servers fail under load, and a worker is killed: nothing acknowledged is lost."""

from pathlib import Path

import flask_migrate

from app import create_app
from app.core.db.schema import MIGRATIONS
from tests import backends
from tests.backends import on_servers
from tests.conftest import close
from tests.faults.conftest import OwnServer
from tests.load.faults import fragile, outside_contract
from tests.load.invariants import assert_all
from tests.load.run import lines, under_load, wait_for_imports
from tests.openapi import Document
from tests.threads import wait_until

pytestmark = on_servers

ANSWERS_AFTERWARDS = 150


def test_everything_fails_at_once_under_load(cluster: OwnServer, document: Document, tmp_path: Path) -> None:
    with cluster.database() as name:
        settings = backends.testing(cluster.url(name), None, tmp_path / "uploads", f"itam-{name}")
        app = create_app(settings)
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
        with fragile(app, settings, cluster) as platform:
            platform.contact_what_hangs()
            with under_load(platform.server.port, platform.estate, rate=100, clients=12) as traffic:
                wait_until(lambda: len(traffic.answers) > ANSWERS_AFTERWARDS)
                fault = platform.strike(traffic)
                enough = len(traffic.answers) + ANSWERS_AFTERWARDS
                wait_until(lambda: len(traffic.answers) > enough)
            wait_for_imports(app, traffic)
        report = "\n".join(lines(traffic))
        assert outside_contract(traffic.answers, [fault]) == [], report
        assert_all(app, traffic.ledger)
        close(app)
        backends.delete_keys(settings.REDIS_PREFIX)
