"""A run under load: an estate to work with, a server, the traffic, and what is reported of it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flask import Flask

from app.core.http.access import Role
from app.gpus.models import Gpu
from app.servers.models import Server as Machine
from app.users.models import User
from tests.factories import Make
from tests.load.invariants import unfinished_imports
from tests.load.traffic import EXPECTED, Account, Estate, Traffic
from tests.threads import TIMEOUT_SECONDS, wait_until

ACCOUNTS, SERVERS, GPUS = 8, 60, 12
P95_SECONDS, P99_SECONDS = 0.2, 0.5
"""The limits of all requests together."""
TICKS = os.sysconf("SC_CLK_TCK")


def make_estate(app: Flask) -> Estate:
    """Store what the clients work with."""
    make = Make(app)
    users = [make(User, role=Role.ADMIN) for _ in range(ACCOUNTS)]
    servers = [make(Machine, name=f"node-{number}", memory_gb=32 * (number % 4)) for number in range(SERVERS)]
    gpus = [make(Gpu, server_id=servers[number].id, model="H100") for number in range(GPUS)]
    accounts = [Account(user.username, user.id) for user in users]
    return Estate(accounts, [one.id for one in servers], [one.id for one in gpus])


@contextmanager
def under_load(port: int, estate: Estate, *, rate: float, clients: int) -> Iterator[Traffic]:
    """Traffic for the duration of the block."""
    traffic = Traffic(port, estate, rate=rate, clients=clients)
    traffic.start()
    try:
        yield traffic
    finally:
        traffic.stop()


def wait_for_imports(app: Flask, traffic: Traffic) -> None:
    # A job whose worker was cut off is taken over after its lease.
    wait_until(lambda: unfinished_imports(app, traffic.ledger) == 0, 4 * TIMEOUT_SECONDS)


def unexpected(traffic: Traffic) -> list[str]:
    """Answers that nothing explains while everything works."""
    return [
        f"{answer.kind}: {answer.status} after {answer.ended_at:.1f} s"
        for answer in traffic.answers
        if answer.status not in EXPECTED[answer.kind]
    ]


def lines(traffic: Traffic) -> Iterator[str]:
    """The report: how many requests of each kind, how they were answered, and how long they took."""
    answers = traffic.answers
    duration = max(answer.ended_at for answer in answers)
    yield f"{len(answers)} requests in {duration:.0f} s, {len(answers) / duration:.0f} a second"
    for kind in (*EXPECTED, None):
        chosen = [answer for answer in answers if kind in (None, answer.kind)]
        if chosen:
            times = " ".join(f"{1000 * share:8.1f}" for share in shares([answer.seconds for answer in chosen]))
            statuses = ", ".join(f"{status}: {count}" for status, count in sorted(traffic.statuses(kind).items()))
            yield f"{kind or 'all':>9} {len(chosen):7}  p50 p95 p99 max in ms {times}   {statuses}"
    late = " ".join(f"{1000 * share:.1f}" for share in shares([answer.late for answer in answers]))
    yield f"sent later than the schedule says, because all clients waited: p50 p95 p99 max in ms {late}"
    ledger = traffic.ledger
    yield (
        f"acknowledged: {len(ledger.created)} creations, {len(ledger.changed)} changes, "
        f"{sum(ledger.deleted.values())} deletions, {len(ledger.assigned)} assignments, {len(ledger.imported)} imports"
    )


def shares(seconds: list[float]) -> list[float]:
    """The 50th, 95th and 99th percentile, and the largest."""
    ordered = sorted(seconds)
    return [ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.95, 0.99, 1)]


def too_slow(traffic: Traffic) -> list[str]:
    """The limits that all requests together have exceeded."""
    _, p95, p99, _ = shares([answer.seconds for answer in traffic.answers])
    measured = (("p95", p95, P95_SECONDS), ("p99", p99, P99_SECONDS))
    return [
        f"{name} is {1000 * seconds:.0f} ms, and is to be {1000 * limit:.0f} ms at most"
        for name, seconds, limit in measured
        if seconds > limit
    ]


class Process(NamedTuple):
    pid: int
    parent: int
    cpu_seconds: float
    """Of itself and of those of its children that have ended."""
    resident_mb: float


def family_of(pid: int) -> list[Process]:
    """A process and those that it has started, which run."""
    children: dict[int, list[Process]] = {}
    descendants, rest = list[Process](), list[Process]()
    for process in _processes():
        children.setdefault(process.parent, []).append(process)
        if process.pid == pid:
            rest.append(process)
    while rest:
        descendants.append(rest.pop())
        rest += children.get(descendants[-1].pid, [])
    return descendants


def _processes() -> Iterator[Process]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may have spaces.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            # It has just ended.
            continue
        ticks, pages = sum(int(field) for field in fields[11:15]), int(fields[21])
        yield Process(int(path.parent.name), int(fields[1]), ticks / TICKS, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def resident_mb(pid: int) -> float:
    """The memory of a process and of those that it has started, in MB."""
    return sum(process.resident_mb for process in family_of(pid))


class Usage:
    """Processor time and memory from now on, of the server and of this process, which sends the requests."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._memory = self._seconds(), resident_mb(pid)

    def _seconds(self) -> tuple[float, float]:
        own = os.times()
        return sum(process.cpu_seconds for process in family_of(self._pid)), own.user + own.system

    def line(self, requests: int) -> str:
        server, own = (
            1000 * (now - before) / requests for now, before in zip(self._seconds(), self._began, strict=True)
        )
        return (
            f"processor time for each request: {server:.2f} ms of the server and its job workers, {own:.2f} ms of this "
            f"program, and what the database takes; memory of the server: {self._memory:.0f} MB at the beginning, "
            f"{resident_mb(self._pid):.0f} MB at the end"
        )


def watch(traffic: Traffic, pid: int, seconds: float) -> Iterator[str]:
    """Let the traffic flow; yields a line from time to time."""
    step = max(5.0, seconds / 10)
    ends_at = traffic.began + seconds
    while (left := ends_at - time.monotonic()) > 0:
        before = len(traffic.answers)
        began = time.monotonic()
        time.sleep(min(step, left))
        rate = (len(traffic.answers) - before) / (time.monotonic() - began)
        yield f"{time.monotonic() - traffic.began:6.0f} s: {rate:.0f} a second, {resident_mb(pid):.0f} MB"
