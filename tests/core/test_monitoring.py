"""The dashboard and the alert rules in deploy/monitoring name metrics that the platform has; a worker shows its own."""

import json
import re
import urllib.request
from io import BytesIO

import yaml
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

import config
from app.core.jobs.runner import Runner, runner_of
from app.core.jobs.worker import serve_status
from app.proof import sealer
from app.services.models import Service
from tests.client import Client
from tests.core.test_metrics import sample, scrape
from tests.factories import Make
from tests.features.conftest import workbook
from tests.server import free_port
from tests.spread import any_database

pytestmark = any_database

FILES = config.ROOT / "deploy" / "monitoring"
REDIS_ONLY = {"itam_redis_up"}
REPLICA_ONLY = {"itam_replica_up"}


def named(text: str) -> set[str]:
    return set(re.findall(r"\bitam_\w+", text))


def expressions() -> list[str]:
    dashboard = json.loads((FILES / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def test_each_metric_that_is_watched_exists(app: Flask, admin: Client, make: Make) -> None:
    """After an import, with a mail and a service: metrics with labels begin with their first value."""
    file = BytesIO(workbook(Servers=[("Name",), ("a",)]))
    headers = {"Authorization": f"Bearer {admin.token}"}
    answer = app.test_client().post("/api/imports", data={"apply": "true", "file": (file, "a.xlsx")}, headers=headers)
    assert answer.status_code == 202
    runner_of(app).run_pending()
    admin.call("GET", "/api/servers")
    make(Service)
    admin.call("POST", f"/api/users/{admin.user.id}/reset-password", expect=202)
    shown = {name for name, _ in scrape(app)}
    watched = set().union(*map(named, expressions()))
    assert len(watched) > 15
    assert watched - shown <= REPLICA_ONLY | (set() if app.config["REDIS_URL"] else REDIS_ONLY)


def test_what_is_imported_is_counted(app: Flask, admin: Client) -> None:
    key = sample("itam_import_rows_total", action="create")
    before = scrape(app).get(key, 0)
    file = BytesIO(workbook(Servers=[("Name",), ("a",), ("b",)]))
    headers = {"Authorization": f"Bearer {admin.token}"}
    app.test_client().post("/api/imports", data={"apply": "true", "file": (file, "a.xlsx")}, headers=headers)
    runner_of(app).run_pending()
    assert scrape(app)[key] - before == 2


def test_the_lag_of_the_seal_ends_with_it(app: Flask, admin: Client) -> None:
    admin.call("POST", "/api/servers", json={"name": "a"}, expect=201)
    assert scrape(app)[sample("itam_audit_seal_lag_seconds")] > 0
    with app.app_context():
        sealer.seal()
    assert scrape(app)[sample("itam_audit_seal_lag_seconds")] == 0


def test_a_worker_answers_probes_and_scrapes(app: Flask) -> None:
    runner, port = Runner(app), free_port()
    serve_status(runner, "127.0.0.1", port)

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    # No thread runs: it works on nothing.
    assert get("/health")[0] == 503
    runner._begin("test", runner._stopping.wait)
    assert get("/health") == (200, "ok\n")
    assert any("itam_job" in family.name for family in text_string_to_metric_families(get("/metrics")[1]))
    runner.stop()
    assert get("/health")[0] == 503
