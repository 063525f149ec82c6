"""One health check: which URL is asked, and what its answer says of the service."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.net.address_policy import Destinations
from app.core.net.http_client import NoAnswer, Refused, fetch
from app.core.values import utcnow
from app.services.models import Protocol, ServiceStatus

SECONDS = 5.0
"""How long a service may take to answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service, as far as a check has to know it."""

    service_id: int
    health_check: str
    protocol: Protocol
    port: int | None
    address: str | None
    """The internal address of its server, if it is on one that has any."""
    port_mappings: tuple[dict[str, Any], ...] = ()
    """Of its container, if it is in one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found. Not to know why there is no answer is `unknown`; only the service can be unhealthy."""

    service_id: int
    checked_at: datetime
    status: ServiceStatus
    problem: str | None = None
    http_status: int | None = None
    response_ms: int | None = None


def probe(target: Target, admitted: Destinations) -> Finding:
    """Ask a service how it is; takes SECONDS at most. An answer of 200 to 299 is a healthy one."""
    at, begun = utcnow(), time.monotonic()
    url = url_of(target)
    if url is None:
        problem = "The path has no server to be asked on: the service's server has no internal IP, or there is none."
        return Finding(target.service_id, at, ServiceStatus.UNKNOWN, problem)
    try:
        answer = fetch(url, admitted=admitted, seconds=SECONDS, limit=0)
    except Refused as refusal:
        return Finding(target.service_id, at, ServiceStatus.UNKNOWN, str(refusal))
    except NoAnswer as failure:
        return Finding(target.service_id, at, ServiceStatus.UNHEALTHY, str(failure))
    took = round((time.monotonic() - begun) * 1000)
    return Finding(target.service_id, at, *_judge(answer.status), answer.status, took)


def url_of(target: Target) -> str | None:
    """The URL that a check asks: the service's own, or its path on the server that it runs on."""
    if not target.health_check.startswith("/"):
        return target.health_check
    if target.address is None:
        return None
    scheme = "https" if target.protocol is Protocol.HTTPS else "http"
    host = f"[{target.address}]" if ":" in target.address else target.address
    port = "" if target.port is None else f":{_port_on_server(target, target.port)}"
    return f"{scheme}://{host}{port}{target.health_check}"


def _port_on_server(target: Target, port: int) -> int:
    """Where the server lets a port of the container out; a port that no mapping leads to is the server's own."""
    out = {item["container_port"]: item["host_port"] for item in target.port_mappings if item["protocol"] == "tcp"}
    return port if port in out.values() else out.get(port, port)


def _judge(status: int) -> tuple[ServiceStatus, str | None]:
    if 200 <= status < 300:
        return ServiceStatus.HEALTHY, None
    if 300 <= status < 400:
        return ServiceStatus.UNHEALTHY, f"The answer was {status}, which points elsewhere; checks do not follow."
    return ServiceStatus.UNHEALTHY, f"The answer was {status}."
