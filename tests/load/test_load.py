"""A few seconds of what `make load` does for as long as one likes."""

from flask import Flask

from tests.backends import Backend
from tests.load.invariants import assert_all
from tests.load.run import lines, make_estate, under_load, unexpected, wait_for_imports
from tests.load.traffic import ACTIONS
from tests.server import served
from tests.threads import wait_until

ANSWERS = 400


def test_under_load_nothing_is_lost(app: Flask, backend: Backend) -> None:
    redis_url = app.config["REDIS_URL"] or ""
    workers = {"WORKERS": "2", "JOB_WORKERS": "1"} if redis_url else {}
    estate = make_estate(app)
    with served(backend.settings(), REDIS_URL=redis_url, **workers) as server:
        with under_load(server.port, estate, rate=200, clients=len(ACTIONS)) as traffic:
            wait_until(lambda: len(traffic.answers) > ANSWERS)
        wait_for_imports(app, traffic)
    report = "\n".join(lines(traffic))
    assert unexpected(traffic) == [], report
    assert traffic.ledger.created, report
    assert traffic.ledger.imported, report
    assert_all(app, traffic.ledger)
