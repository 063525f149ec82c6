"""Metrics that are read from the database at each scrape: the same in every process, whichever does the work."""

from collections.abc import Iterator

import sqlalchemy as sa
from flask import current_app
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from app.core.cache.generations import reachable
from app.core.cache.replica import replica_of_app
from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.core.mail.outbox import MailState, outbox
from app.core.storage.storage import storage
from app.core.values import utcnow
from app.imports.models import Import
from app.proof.sealer import is_late, oldest_unsealed
from app.services.models import Service, ServiceSchedule

imports, services, schedules = Import.__table__, Service.__table__, ServiceSchedule.__table__


def collect() -> Iterator[Metric]:
    """Mail, imports, services and their checks, the seal of the audit log, and what readiness reports."""
    now = utcnow()

    def seconds_since(time: object) -> float:
        return max(0.0, (now - time).total_seconds()) if time is not None else 0.0  # type: ignore[operator]

    # Those that were sent are kept for months.
    pending = outbox.c.state.in_((MailState.QUEUED, MailState.SENDING, MailState.FAILED))
    yield _counts("itam_mails", "Mails that are not sent.", "state", outbox.c.state, pending)
    waiting = sa.select(sa.func.min(outbox.c.created_at)).where(outbox.c.state == MailState.QUEUED)
    yield _gauge("itam_mail_delay_seconds", "Age of the oldest queued mail.", seconds_since(db.session.scalar(waiting)))
    yield _counts("itam_imports", "Imports.", "status", imports.c.status)
    yield _counts("itam_services", "Services.", "status", services.c.status)
    due = db.session.scalar(sa.select(sa.func.min(schedules.c.due_at)))
    yield _gauge("itam_service_check_delay_seconds", "How long the oldest due health check waits.", seconds_since(due))
    unsealed = seconds_since(oldest_unsealed())
    yield _gauge("itam_audit_seal_lag_seconds", "Age of the oldest record of the audit log without a seal.", unsealed)
    yield _gauge("itam_audit_late", "Whether readiness reports that sealing is late.", is_late())
    yield _gauge("itam_queue_late", "Whether readiness reports that due jobs are not run.", _is_queue_late())
    yield _gauge("itam_storage_up", "Whether the storage of images can be used.", storage().is_up())
    if replica := replica_of_app():
        state, lag = replica.state()
        yield _gauge("itam_replica_up", "Whether the standby answers.", state != "down")
        yield _gauge("itam_replica_lag_bytes", "How far the standby is behind in the log of writes.", lag)
    if (cache := reachable()) != "in process":
        yield _gauge("itam_redis_up", "Whether Redis answers.", cache == "ok")


def _is_queue_late() -> bool:
    return runner_of(current_app).is_late()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counts(
    name: str, text: str, label: str, column: sa.ColumnElement[object], *where: sa.ColumnElement[bool]
) -> Metric:
    """How many rows have which value of a column."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in db.session.execute(sa.select(column, sa.func.count()).where(*where).group_by(column)):
        family.add_metric([getattr(value, "value", str(value))], count)
    return family
