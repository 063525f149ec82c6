"""Running a health check on request, and storing the results of checks."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from app.containers.models import Container
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import Conflict
from app.core.http.access import current_actor
from app.core.messages import tr
from app.core.net.http_client import configured_policy, request_slot
from app.servers.models import Server
from app.services.health_check import CheckResult, CheckTarget, check_health
from app.services.models import Service, ServiceCheck, ServiceStatus

services, checks = Service.__table__, ServiceCheck.__table__

IS_CHECKED = sa.and_(services.c.health_check.is_not(None), services.c.status != ServiceStatus.DISABLED)


class NoHealthCheck(Conflict):
    reason, message = "no_health_check", tr("This service has no health check. Set a URL, or a path on its server.")


class ServiceDisabled(Conflict):
    reason, message = "disabled", tr("This service is disabled. Change its status to have it checked.")


class ServiceGone(Conflict):
    reason, message = "deleted", tr("This service was deleted or disabled during the check.")


def target_of(service: Service) -> CheckTarget:
    """What the health check of a service is sent to; raises NoHealthCheck and ServiceDisabled."""
    if service.health_check is None:
        raise NoHealthCheck()
    if service.status is ServiceStatus.DISABLED:
        raise ServiceDisabled()
    (target,) = load_targets([service.id])
    return target


def check_now(target: CheckTarget) -> int:
    """Check a service while the caller waits, before the transaction begins that stores it; returns the check's id.

    Raises TooManyRequests.
    """
    policy = configured_policy()
    with request_slot():
        result = check_health(target, policy)
    check_ids = store_results([result], checked_by=current_actor().username)
    if not check_ids:
        raise ServiceGone()
    return check_ids[0]


def load_targets(service_ids: Sequence[int]) -> list[CheckTarget]:
    """The check targets of those of the services that have a health check and are not disabled."""
    container, server = Container.__table__, Server.__table__
    runs_on = sa.func.coalesce(services.c.server_id, container.c.server_id)
    source = services.outerjoin(container, services.c.container_id == container.c.id).outerjoin(
        server, runs_on == server.c.id
    )
    rows = db.session.execute(
        sa.select(
            services.c.id,
            services.c.health_check,
            services.c.protocol,
            services.c.port,
            server.c.internal_ip,
            container.c.port_mappings,
        )
        .select_from(source)
        .where(any_of(services.c.id, service_ids), IS_CHECKED)
        .order_by(services.c.id)
    )
    return [CheckTarget(*row[:-1], port_mappings=tuple(row.port_mappings or ())) for row in rows]


def store_results(results: Iterable[CheckResult], *, checked_by: str | None = None) -> list[int]:
    """Store the results of checks; returns the ids of the checks.

    A new status is a change of the service, with a version and an audit record; `last_checked_at` alone is not. A
    service that was deleted or disabled meanwhile is skipped.
    """
    latest = {result.service_id: result for result in results}
    previous_status = _lock_checked(latest)
    if not previous_status:
        return []
    changed_ids = {id_ for id_, status in previous_status.items() if status is not latest[id_].status}
    changed = sa.select(Service).where(any_of(services.c.id, changed_ids)).execution_options(populate_existing=True)
    for service in db.session.scalars(changed):
        service.status = latest[service.id].status
    db.session.flush()
    rows = [
        {**asdict(latest[id_]), "is_change": id_ in changed_ids, "checked_by": checked_by} for id_ in previous_status
    ]
    # A slow scheduled check may end after a later one that a user made.
    is_newer = sa.or_(services.c.last_checked_at.is_(None), services.c.last_checked_at < sa.bindparam("new"))
    update = (
        sa.update(services)
        .where(services.c.id == sa.bindparam("id_"), is_newer)
        .values(last_checked_at=sa.bindparam("new"))
    )
    db.session.connection().execute(update, [{"id_": row["service_id"], "new": row["checked_at"]} for row in rows])
    return list(db.session.scalars(sa.insert(checks).returning(checks.c.id), rows))


def _lock_checked(service_ids: Iterable[int]) -> dict[int, ServiceStatus]:
    """The status of the services that still have a check, locked in id order, as every writer of several rows does.

    FOR NO KEY UPDATE lets others insert rows that refer to the services, such as tasks.
    """
    checked = sa.select(services.c.id, services.c.status).where(any_of(services.c.id, service_ids), IS_CHECKED)
    rows = db.session.execute(checked.order_by(services.c.id).with_for_update(key_share=True))
    return {row.id: row.status for row in rows}
