"""/metrics for Prometheus: what the modules of the platform count, and what is counted in tables.

The numbers of all worker processes are added up: each writes them to files of its own in PROMETHEUS_MULTIPROC_DIR,
which `run.py` makes where there are several. prometheus_client's metrics belong to the process, not to an application.
"""

import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.core.addresses import parse_address
from app.core.db.unit_of_work import db, reading, transactional
from app.core.errors import Unauthorized
from app.core.http.access import bearer_token, public
from app.core.jobs.queue import Job
from app.core.messages import tr
from app.core.values import utcnow

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that switches prometheus_client, when it is first imported, to files shared by several processes."""


class MetricsToken(Unauthorized):
    reason, message = "metrics_token", tr("Send METRICS_TOKEN as the bearer token.")


class TableCollector(Collector):
    """Jobs that are not done, and what features count, read from tables: the same in every process."""

    def collect(self) -> Iterator[Metric]:
        # Without the database the other metrics matter most.
        up = GaugeMetricFamily("itam_database_up", "Whether the database answers.")
        try:
            families = [*self._jobs(), *current_app.extensions["metric_readers"]()]
            up.add_metric([], 1)
        except SQLAlchemyError:
            db.session.rollback()
            families = []
            up.add_metric([], 0)
        yield up
        yield from families

    def _jobs(self) -> Iterator[Metric]:
        jobs = Job.__table__
        since = sa.func.min(sa.func.coalesce(jobs.c.due_at, jobs.c.created_at))
        waiting = sa.select(jobs.c.kind, jobs.c.state, sa.func.count(), since)
        rows = db.session.execute(
            waiting.where(jobs.c.state.in_(("queued", "running", "failed"))).group_by(jobs.c.kind, jobs.c.state)
        ).all()
        counts = GaugeMetricFamily("itam_jobs", "Jobs that are not done.", labels=["kind", "state"])
        delays = GaugeMetricFamily("itam_jobs_delay_seconds", "How long the oldest due job waits.", labels=["kind"])
        now = utcnow()
        for kind, state, number, oldest in rows:
            counts.add_metric([kind, state], number)
            if state == "queued":
                delays.add_metric([kind], max(0.0, (now - oldest).total_seconds()))
        yield counts
        yield delays


@public
def show() -> Response:
    """Metrics, for bearers of METRICS_TOKEN; if none is set, for clients on this machine. Raises Unauthorized."""
    _require_reader()
    registry = CollectorRegistry()
    registry.register(TableCollector())
    sources: list[Any] = [registry]
    if DIRECTORY in os.environ:
        _drop_dead_workers(Path(os.environ[DIRECTORY]))
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        sources.append(REGISTRY)
    return Response(b"".join(map(generate_latest, sources)), content_type=CONTENT_TYPE_LATEST)


def _require_reader() -> None:
    token = current_app.config["METRICS_TOKEN"]
    if token:
        presented = bearer_token()
        if presented is not None and hmac.compare_digest(presented.encode(), token.encode()):
            return
        raise MetricsToken()
    # Behind an unconfigured proxy on this machine, every client would be local.
    proxied = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"))
    if proxied or not _is_local(request.remote_addr):
        raise MetricsToken(tr("Without METRICS_TOKEN only this machine may read the metrics."))


def _is_local(address: str | None) -> bool:
    try:
        return parse_address(address or "").is_loopback
    except ValueError:
        return False


def _drop_dead_workers(directory: Path) -> None:
    """Drop the connection counts of killed workers, which their files still hold."""
    for path in directory.glob("gauge_live*_*.db"):
        pid = int(re.findall(r"_(\d+)\.db", path.name)[0])
        if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def init_app(app: Flask, read_tables: Callable[[], Iterable[Metric]]) -> None:
    """Give an application /metrics; `read_tables` is called at each scrape, in a reading block."""
    app.extensions["metric_readers"] = read_tables
    app.add_url_rule("/metrics", "metrics", transactional(show, reading))
