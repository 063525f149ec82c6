"""Health checks: what is to be checked, and what becomes of a finding."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from app.containers.models import Container
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db, let_go, transactional
from app.core.errors import Conflict
from app.core.http.access import current_actor
from app.core.net.http_client import allowed, waiting
from app.servers.models import Server
from app.services.models import Service, ServiceCheck, ServiceStatus
from app.services.probe import Finding, Target, probe

services, checks = Service.__table__, ServiceCheck.__table__

IS_CHECKED = sa.and_(services.c.health_check.is_not(None), services.c.status != ServiceStatus.DISABLED)


class NothingToCheck(Conflict):
    reason, message = "no_health_check", "This service has no health check: give it a URL, or a path on its server."


class CheckDisabled(Conflict):
    reason, message = "disabled", "This service is disabled; it is checked again once its status is another."


def check_now(service: Service) -> int:
    """Check a service while the caller waits; answers the id of the check.

    Raises NothingToCheck, CheckDisabled and TooManyRequests.
    """
    if service.health_check is None:
        raise NothingToCheck()
    if service.status is ServiceStatus.DISABLED:
        raise CheckDisabled()
    (target,) = targets([service.id])
    admitted = allowed()
    let_go()
    with waiting():
        finding = probe(target, admitted)
    recorded = record([finding], by=current_actor().username)
    if not recorded:
        raise Conflict("This service has been deleted meanwhile.", reason="deleted")
    return recorded[0]


def targets(service_ids: Sequence[int]) -> list[Target]:
    """Those of these services that are checked, with where they run."""
    container, server = Container.__table__, Server.__table__
    where = sa.func.coalesce(services.c.server_id, container.c.server_id)
    source = services.outerjoin(container, services.c.container_id == container.c.id).outerjoin(
        server, where == server.c.id
    )
    found = db.session.execute(
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
    return [Target(*row[:-1], port_mappings=tuple(row.port_mappings or ())) for row in found]


@transactional
def record(findings: Iterable[Finding], *, by: str | None = None) -> list[int]:
    """Store what checks have found, in a transaction of its own; answers the ids of the checks.

    A status that is another than before is a change of the service, with its version and its audit record. A service
    that has been deleted or disabled meanwhile is left as it is.
    """
    latest = {finding.service_id: finding for finding in findings}
    before = _lock_checked(latest)
    if not before:
        return []
    changed = {identity for identity, status in before.items() if status is not latest[identity].status}
    as_they_are = sa.select(Service).where(any_of(services.c.id, changed)).execution_options(populate_existing=True)
    for service in db.session.scalars(as_they_are):
        service.status = latest[service.id].status
    db.session.flush()
    rows = [{**asdict(latest[identity]), "is_change": identity in changed, "checked_by": by} for identity in before]
    earlier = sa.or_(services.c.last_checked_at.is_(None), services.c.last_checked_at < sa.bindparam("at"))
    seen = (
        sa.update(services)
        .where(services.c.id == sa.bindparam("the_id"), earlier)
        .values(last_checked_at=sa.bindparam("at"))
    )
    at = [{"the_id": row["service_id"], "at": row["checked_at"]} for row in rows]
    db.session.connection().execute(seen, at)
    return list(db.session.scalars(sa.insert(checks).returning(checks.c.id), rows))


def _lock_checked(service_ids: Iterable[int]) -> dict[int, ServiceStatus]:
    """The status of those that are still checked, locked in the order of their ids: others lock them so too."""
    wanted = sa.select(services.c.id, services.c.status).where(any_of(services.c.id, service_ids), IS_CHECKED)
    found = db.session.execute(wanted.order_by(services.c.id).with_for_update(key_share=True))
    return {row.id: row.status for row in found}
