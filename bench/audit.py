"""Queries of an audit log of ten million records, on MariaDB one million: filters, combinations, texts and changes.

SQL generates the records: three years of an organisation with two hundred users. Every query runs several times with
other values, interleaved with the others, in this process and as an administrator.
"""

import math
import re
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from bench.audit_records import fill
from bench.imports import log_in
from bench.scratch import Scratch, scratch

RECORDS = {"postgresql": 10_000_000, "mariadb": 1_000_000}
"""As many as are made within minutes."""
ROUNDS = 20
AIM_P95_MS = 300


def queries(turn: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each query, and its parameters in this turn."""
    person, object_id = 1 + turn * 37 % 190, 1 + turn * 4999 % 100_000
    month = 1 + turn % 12
    spring = {"created_at__gte": f"2024-{month:02}-01", "created_at__lt": f"2024-{month:02}-28"}
    latest = {"sort": "-id"}
    yield "the latest", latest
    yield "the first", {}
    yield "user_id", {"user_id": person, **latest}
    yield "username", {"username": f"User-{person}", **latest}
    yield "action, frequent", {"action": "update", **latest}
    yield "action, rare", {"action": "lockout", **latest}
    yield "resource_type", {"resource_type": "gpus", **latest}
    yield "resource_type, resource_id", {"resource_type": "servers", "resource_id": object_id, **latest}
    yield "resource_id", {"resource_id": object_id}
    yield "ip_address", {"ip_address": f"10.1.4.{turn % 40}", **latest}
    yield "request_id", {"request_id": "c4ca4238a0b923820dcc509a6f75849b"}
    yield "created_at", {**spring, **latest}
    yield "created_at, old to new", spring
    yield "created_at__gte alone", {"created_at__gte": f"2025-{month:02}-01"}
    yield "user_id, action", {"user_id": person, "action": "delete", **latest}
    yield "user_id, created_at", {"user_id": person, **spring, **latest}
    yield "action, created_at", {"action": "login_failed", **spring, **latest}
    yield "resource_type, action, created_at", {"resource_type": "gpus", "action": "delete", **spring}
    yield "q, one object", {"q": f"servers-{object_id:06}", **latest}
    yield "q, many", {"q": "gpus-0", **latest}
    yield "q, nothing", {"q": f"nowhere-{turn}"}
    yield "q, created_at", {"q": f"ticket {10_000 + turn * 911}", **spring}
    yield "field, frequent", {"field": "status", **latest}
    yield "field, never", {"field": "warranty_expires"}
    yield "field, to, rare", {"field": "status", "to": "retired", **latest}
    yield "field, from, to", {"field": "status", "from": "active", "to": "offline", **latest}
    yield "from, to", {"from": "available", "to": "assigned", **latest}
    yield "to", {"to": f"moved to row {turn} by ticket {turn * 77}", **latest}
    yield "field, user_id", {"field": "memory_gb", "user_id": person, **latest}
    yield "field, to, created_at", {"field": "owner", "to": f"team-{turn % 37}", **spring}
    yield "q, cursor", {"q": "gpus-0", "cursor": "", **latest}


def run(records: int = 0, rounds: int = ROUNDS, only: str = "", database: str = "postgresql") -> None:
    """Print the percentiles of the queries with names that match the regular expression `only`, and of all together.

    0 records are as many as RECORDS says. A query that takes longer than a statement may is refused, and asked once.
    """
    with scratch(database) as created:
        records = records or RECORDS[database]
        created.allow_unrecorded()
        began = time.perf_counter()
        fill(created, records)
        seconds = time.perf_counter() - began
        print(
            f"audit: {created.title}, {records:,} records, made in {seconds:,.0f} s; {rounds} rounds of queries",
            flush=True,
        )
        show(measure(created, rounds, only))


def measure(database: Scratch, rounds: int, only: str) -> dict[str, list[float]]:
    """The milliseconds of each query, by its name; infinite for one that is refused."""
    client = log_in(database)
    durations: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name, parameters in queries(turn):
            times = durations.setdefault(name, [])
            if not re.search(only, name) or math.inf in times:
                continue
            began = time.perf_counter()
            answer = client.get("/api/audit-logs", query_string=parameters)
            assert answer.status_code in (200, 503), answer.data
            times.append(1000 * (time.perf_counter() - began) if answer.status_code == 200 else math.inf)
    return {name: times for name, times in durations.items() if times}


def show(durations: dict[str, list[float]]) -> None:
    print(f"  {'':36} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    answered = {name: times for name, times in durations.items() if math.inf not in times}
    for name in [name for name in durations if name not in answered]:
        print(f"  {name:36} {'refused':>8}")
    together = [duration for times in answered.values() for duration in times]
    for name, times in {**answered, "all": together}.items():
        print(f"  {name:36} {median(times):8.1f} {percentile(times, 0.95):8.1f} {max(times):8.1f}")
    print(f"  limit: p95 within {AIM_P95_MS} ms")


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]
