"""Queries of an audit log of ten million records: single filters, combinations, texts and changes.

SQL generates the records: a few years of an organisation with two hundred users. Every query runs several times with
other values, interleaved with the others, in this process and as an administrator.
"""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from psycopg import Connection

from bench.imports import log_in
from bench.scratch import Scratch, scratch

RECORDS = 10_000_000
ROUNDS = 20
AIM_P95_MS = 300

# One record every ten seconds: 5 % logins, 40 % changes of one field or two, 20 % creations.
_RECORDS = """
INSERT INTO audit_logs (
    created_at, user_id, username, action, resource_type, resource_id, resource_name, version, changes, ip_address,
    user_agent, token_id, request_id, reason, mac
)
SELECT timestamptz '2023-01-01Z' + i * interval '10 seconds', person, 'user-' || person, action, kind, object,
    CASE WHEN action LIKE 'login%%' THEN 'user-' || person ELSE kind || '-' || lpad(object::text, 6, '0') END,
    CASE WHEN action IN ('create', 'update', 'delete', 'assign', 'release') THEN i::int END,
    CASE action
        WHEN 'update' THEN CASE i %% 5
            WHEN 0 THEN format('{"status":{"old":"%%s","new":"%%s"}}',
                (ARRAY['active', 'maintenance', 'offline'])[1 + i %% 3],
                CASE WHEN i %% 9973 = 0 THEN 'retired'
                ELSE (ARRAY['maintenance', 'offline', 'active', 'active'])[1 + (i / 7) %% 4] END)
            WHEN 1 THEN format('{"memory_gb":{"old":%%s,"new":%%s}}', i %% 512, i %% 511)
            WHEN 2 THEN format('{"owner":{"old":"team-%%s","new":"team-%%s"},"rack":{"old":null,"new":"R%%s"}}',
                i %% 40, i %% 37, i %% 900)
            WHEN 3 THEN format('{"internal_ip":{"old":"10.0.%%s.%%s","new":"10.1.%%s.%%s"}}',
                i %% 250, i %% 251, i %% 252, i %% 253)
            ELSE format('{"description":{"old":null,"new":"Moved to row %%s by ticket %%s"}}', i %% 100, i %% 99991) END
        WHEN 'create' THEN format('{"name":{"old":null,"new":"%%s-%%s"},"status":{"old":null,"new":"active"},'
            '"datacenter_id":{"old":null,"new":%%s},"internal_ip":{"old":null,"new":"10.2.%%s.%%s"},'
            '"memory_gb":{"old":null,"new":%%s},"owner":{"old":null,"new":"team-%%s"},'
            '"created_by_id":{"old":null,"new":%%s},"tags":{"old":null,"new":[]}}',
            kind, object, i %% 9, i %% 250, i %% 251, 2 ^ (i %% 9), i %% 40, person)
        WHEN 'assign' THEN format('{"status":{"old":"available","new":"assigned"},'
            '"assigned_to_id":{"old":null,"new":%%s}}', person)
        ELSE '{}' END,
    '10.' || person %% 3 || '.' || person %% 17 || '.' || i %% 40, 'Mozilla/5.0 (X11; Linux x86_64)',
    md5((person / 3)::text), md5(i::text), CASE WHEN i %% 12 = 0 THEN 'Ticket ' || i %% 99991 END,
    'generated'
FROM (
    SELECT i,
        1 + i * 7919 %% 200 * (i * 31 %% 200) / 200 AS person,
        (ARRAY['update', 'update', 'update', 'update', 'update', 'update', 'update', 'update', 'create', 'create',
            'create', 'create', 'delete', 'login', 'login', 'login_failed', 'assign', 'release', 'export', 'denied'])
            [1 + (hashint8(i) & 2147483647) %% 20] AS action,
        (ARRAY['servers', 'servers', 'servers', 'servers', 'containers', 'containers', 'containers', 'gpus',
            'services', 'assets'])[1 + (hashint8(i * 3) & 2147483647) %% 10] AS kind,
        1 + (hashint8(i * 5) & 2147483647) %% 100000 AS object
    FROM generate_series(1::bigint, %s) AS i
) AS made
"""


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


def run(records: int = RECORDS, rounds: int = ROUNDS) -> None:
    """Print the percentiles of each query, and of all together."""
    with scratch() as database:
        database.allow_unrecorded()
        began = time.perf_counter()
        with database.connect() as connection:
            fill(connection, records)
        print(f"audit: {records:,} records, made in {time.perf_counter() - began:,.0f} s; {rounds} rounds of queries")
        show(measure(database, rounds))


def fill(connection: Connection, records: int) -> None:
    """Insert the records without indexes and create these afterwards: with them it takes ten times as long."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_logs' AND indexname <> 'pk_audit_logs'"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
    connection.execute(_RECORDS, [records])
    for _, definition in indexes:
        connection.execute(definition)
    connection.execute("VACUUM ANALYZE audit_logs")


def measure(database: Scratch, rounds: int) -> dict[str, list[float]]:
    """The milliseconds of each query, by its name."""
    client = log_in(database)
    durations: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name, parameters in queries(turn):
            began = time.perf_counter()
            answer = client.get("/api/audit-logs", query_string=parameters)
            durations.setdefault(name, []).append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 200, answer.data
    return durations


def show(durations: dict[str, list[float]]) -> None:
    print(f"  {'':36} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    together = [duration for times in durations.values() for duration in times]
    for name, times in {**durations, "all": together}.items():
        print(f"  {name:36} {median(times):8.1f} {percentile(times, 0.95):8.1f} {max(times):8.1f}")
    print(f"  limit: p95 within {AIM_P95_MS} ms")


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]
