"""What a monitoring system reads: right numbers, few labels, and only for those who may."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

import config
from app.core.db.unit_of_work import db
from app.core.http.metrics import DIRECTORY
from app.core.jobs.queue import enqueue
from app.core.values import utcnow
from tests.client import Client
from tests.conftest import BuildApp
from tests.spread import any_database

pytestmark = any_database

LOCAL = {"REMOTE_ADDR": "127.0.0.1"}

Sample = tuple[str, tuple[tuple[str, str], ...]]


def scrape(app: Flask) -> dict[Sample, float]:
    answer = app.test_client().get("/metrics", environ_base=LOCAL)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> Sample:
    return name, tuple(sorted(labels.items()))


def test_requests_are_counted_by_route_method_and_status(app: Flask, user: Client) -> None:
    key = {"method": "GET", "route": "/api/servers/<int:object_id>"}
    before = scrape(app)
    for identity in (1, 2, 3):
        user.call("GET", f"/api/servers/{identity}", expect=404)
    after = scrape(app)

    def grown(wanted: Sample) -> float:
        return after[wanted] - before.get(wanted, 0)

    assert grown(sample("itam_http_requests_total", **key, status="404")) == 3
    assert grown(sample("itam_http_request_duration_seconds_count", **key)) == 3
    assert grown(sample("itam_http_request_duration_seconds_bucket", **key, le="+Inf")) == 3


def test_nobody_can_make_up_labels(app: Flask) -> None:
    browser = app.test_client()
    browser.get("/api/nowhere/4711")
    browser.open("/api/servers", method="BREW")
    labels = [dict(labels) for _, labels in scrape(app)]
    assert not any("4711" in label.get("route", "") or label.get("method") == "BREW" for label in labels)
    assert {label["route"] for label in labels if label.get("method") == "other"} <= {"none", "/api/servers"}
    assert {"method": "GET", "route": "none", "status": "404"} in labels


def test_jobs_that_wait(app: Flask) -> None:
    with app.app_context():
        enqueue("test", 1)
        enqueue("test", 2)
        enqueue("later", 3, due_at=utcnow() + timedelta(hours=1))
        db.session.commit()
    samples = scrape(app)
    assert samples[sample("itam_jobs", kind="test", state="queued")] == 2
    assert samples[sample("itam_jobs", kind="later", state="queued")] == 1
    assert 0 <= samples[sample("itam_jobs_delay_seconds", kind="test")] < 60
    assert samples[sample("itam_jobs_delay_seconds", kind="later")] == 0


def test_what_the_cache_was_good_for(app: Flask, user: Client) -> None:
    def lookups(result: str) -> float:
        return scrape(app).get(sample("itam_cache_lookups_total", result=result), 0)

    hits, misses = lookups("hit"), lookups("miss")
    user.call("GET", "/api/servers?total=none")
    user.call("GET", "/api/servers?total=none")
    assert (lookups("miss") - misses, lookups("hit") - hits) == (1, 1)


def test_connections_are_given_back(app: Flask, user: Client) -> None:
    before = scrape(app)[sample("itam_database_connections_in_use")]
    user.call("GET", "/api/servers")
    assert scrape(app)[sample("itam_database_connections_in_use")] == before


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("192.0.2.1", {}, 401),
        ("", {}, 401),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 401),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 401),
    ],
)
def test_without_a_token_this_machine_may_read(app: Flask, address: str, headers: dict[str, str], status: int) -> None:
    answer = app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json["data"]["reason"] == "metrics_token"


def test_with_a_token_its_bearer_may(build_app: BuildApp, user: Client) -> None:
    browser = build_app(METRICS_TOKEN="of the monitoring").test_client()
    for header, status in (
        ("Bearer of the monitoring", 200),
        ("Bearer of the monitorinG", 401),
        ("Bearer ", 401),
        ("Basic of the monitoring", 401),
        (f"Bearer {user.token}", 401),
        ("Bearer \xe9", 401),
    ):
        assert browser.get("/metrics", environ_base=LOCAL, headers={"Authorization": header}).status_code == status
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    answer = browser.get("/metrics", environ_base=elsewhere, headers={"Authorization": "Bearer of the monitoring"})
    assert answer.status_code == 200


def test_the_numbers_of_all_processes_are_added_up(app: Flask, tmp_path: Path) -> None:
    """And what a worker that is gone had taken is not."""
    program = """
import sys
from app.core.db import measurement
from app.core.http import application, metrics
application.requests_total.labels("GET", "/x", 200).inc(2)
measurement.connections_in_use.inc(5)
if "shown" in sys.argv:
    metrics._drop_dead_workers(metrics.Path(metrics.os.environ[metrics.DIRECTORY]))
    registry = metrics.CollectorRegistry()
    metrics.MultiProcessCollector(registry)
    print(metrics.generate_latest(registry).decode())
"""
    for arguments in ([], ["shown"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=config.ROOT,
            env={**os.environ, DIRECTORY: str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert re.search(r'^itam_http_requests_total\{[^}]*route="/x"[^}]*\} 4\.0$', done.stdout, re.MULTILINE)
    assert re.search(r"^itam_database_connections_in_use 5\.0$", done.stdout, re.MULTILINE)
