"""One HTTP health check: the URL that is requested and the status that follows from the response."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.net.address_policy import AddressPolicy
from app.core.net.http_client import RequestFailed, RequestRefused, fetch
from app.core.values import utcnow
from app.services.models import Protocol, ServiceStatus

TIMEOUT_SECONDS = 5.0
"""For the whole exchange, from resolving the name to the headers of the response."""


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """The facts about a service that a check needs; read in one transaction, used outside of any."""

    service_id: int
    health_check: str
    protocol: Protocol
    port: int | None
    address: str | None
    """The internal IP of the server that it runs on, if known."""
    port_mappings: tuple[dict[str, Any], ...] = ()
    """The port mappings of its container, if it runs in one."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    A check that could not be made at all leaves the service `unknown`; only a response, or its absence, makes it
    `unhealthy`.
    """

    service_id: int
    checked_at: datetime
    status: ServiceStatus
    problem: str | None = None
    http_status: int | None = None
    response_ms: int | None = None


def check_health(target: CheckTarget, policy: AddressPolicy) -> CheckResult:
    """Request a service's health check URL; takes TIMEOUT_SECONDS at most. 200 to 299 means healthy."""
    checked_at, started = utcnow(), time.monotonic()
    url = url_of(target)
    if url is None:
        problem = "The health check is a path, and its server has no internal IP: set one, or give a full URL."
        return CheckResult(target.service_id, checked_at, ServiceStatus.UNKNOWN, problem)
    try:
        response = fetch(url, policy=policy, timeout_seconds=TIMEOUT_SECONDS, max_bytes=0)
    except RequestRefused as refusal:
        return CheckResult(target.service_id, checked_at, ServiceStatus.UNKNOWN, str(refusal))
    except RequestFailed as failure:
        return CheckResult(target.service_id, checked_at, ServiceStatus.UNHEALTHY, str(failure))
    response_ms = round((time.monotonic() - started) * 1000)
    return CheckResult(target.service_id, checked_at, *_interpret(response.status), response.status, response_ms)


def url_of(target: CheckTarget) -> str | None:
    """The URL to request: the service's own, or its path on the server that it runs on; None without an address."""
    if not target.health_check.startswith("/"):
        return target.health_check
    if target.address is None:
        return None
    scheme = "https" if target.protocol is Protocol.HTTPS else "http"
    host = f"[{target.address}]" if ":" in target.address else target.address
    port = "" if target.port is None else f":{_host_port(target, target.port)}"
    return f"{scheme}://{host}{port}{target.health_check}"


def _host_port(target: CheckTarget, port: int) -> int:
    """The server's port for a service's port.

    A port that is no container port of a TCP mapping is taken for a port of the server itself.
    """
    published = {
        mapping["container_port"]: mapping["host_port"]
        for mapping in target.port_mappings
        if mapping["protocol"] == "tcp"
    }
    return port if port in published.values() else published.get(port, port)


def _interpret(http_status: int) -> tuple[ServiceStatus, str | None]:
    if 200 <= http_status < 300:
        return ServiceStatus.HEALTHY, None
    if 300 <= http_status < 400:
        # A redirect could lead into a network that OUTGOING_ALLOWED does not name.
        problem = f"The service answered {http_status}, a redirect; health checks do not follow redirects."
        return ServiceStatus.UNHEALTHY, problem
    return ServiceStatus.UNHEALTHY, f"The service answered {http_status}."
