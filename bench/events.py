"""The cost of chaining events: transactions of one event each, with and without its place in a chain.

Both ways take turns on one database and in this process, alone and by eight threads at once.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any
from unittest.mock import patch

from flask import Flask

from app.core.audit import mac, recorder
from app.core.db.unit_of_work import writing
from bench.logins import on_postgresql, on_sqlite

EVENTS = 1_000
"""Events of each thread, way and round."""
ROUNDS = 5
THREADS = 8


def run(events: int = EVENTS, rounds: int = ROUNDS) -> None:
    """Print the median and the 99th percentile of one event's transaction."""
    for name, served in (("SQLite", on_sqlite), ("PostgreSQL", on_postgresql)):
        with served() as app:
            for threads in (1, THREADS):
                show(name, threads, measure(app, threads, events // threads, rounds))


def measure(app: Flask, threads: int, events: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each transaction, by the way it was written."""
    durations: dict[str, list[float]] = {"chained": [], "alone": []}
    for _ in range(rounds):
        for way, seconds in durations.items():
            with ThreadPoolExecutor(threads) as pool, unchained(way == "alone"):
                for times in pool.map(lambda _: record_events(app, events), range(threads)):
                    seconds.extend(times)
    return durations


def record_events(app: Flask, count: int) -> list[float]:
    times = []
    with app.app_context():
        for _ in range(count):
            begin = time.perf_counter()
            with writing():
                recorder.record("denied", "users", 1, "PATCH /api/servers/1")
            times.append((time.perf_counter() - begin) * 1000)
    return times


@contextmanager
def unchained(required: bool) -> Iterator[None]:  # noqa: FBT001 - reads as a claim
    """Compute the MACs of events without taking places in a chain, during the block if it is required."""

    def link_alone(_connection: Any, contents: list[dict[str, Any]]) -> None:
        for content in contents:
            content["mac"] = mac._mac_of_new(mac.keyring()[0], content, None)

    link: Callable[..., None] = link_alone if required else mac._link_events
    with patch.object(mac, "_link_events", link):
        yield


def show(name: str, threads: int, durations: dict[str, list[float]]) -> None:
    print(f"events: {name}, {threads} threads, one event in each transaction")
    for way, times in durations.items():
        print(f"  {way:10} p50 {median(times):7.3f} ms  p99 {quantiles(times, n=100)[-1]:7.3f} ms")
