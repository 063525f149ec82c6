"""Concurrency in tests: calls that start together, and waiting for a condition."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar
from unittest.mock import patch

from app.core.db.dialects.sqlite import connections

T = TypeVar("T")

TIMEOUT_SECONDS = 30
"""How long a test waits for another thread before it fails."""


def run_concurrently(calls: Sequence[Callable[[], T]], *, lock_seconds: float = TIMEOUT_SECONDS) -> list[T]:
    """The results of the calls, each made in a thread of its own, once all threads have started.

    On SQLite a request waits so long for its turn to write.
    """
    gate = Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        gate.wait(TIMEOUT_SECONDS)
        return call()

    # On a busy machine the thread that holds SQLite's only lock may not run for seconds.
    with patch.object(connections, "LOCK_SECONDS", lock_seconds), ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(begin, call) for call in calls]
        return [future.result(TIMEOUT_SECONDS) for future in futures]


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT_SECONDS) -> None:
    """Poll until the condition holds, which another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "The condition did not become true."
        # Leaves the processor to the thread that is waited for.
        time.sleep(0.005)
