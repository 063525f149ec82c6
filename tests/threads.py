"""Concurrency in tests: calls that start together, and waiting for a condition."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import TypeVar
from unittest.mock import patch

from app.core.db.dialects.mariadb import connections as mariadb
from app.core.db.dialects.mariadb import driver as mariadb_driver
from app.core.db.dialects.postgresql import connections as postgresql
from app.core.db.dialects.sqlite import connections as sqlite

T = TypeVar("T")

TIMEOUT_SECONDS = 30
"""How long a test waits for another thread before it fails."""


def run_concurrently(calls: Sequence[Callable[[], T]], *, lock_seconds: float | None = None) -> list[T]:
    """The results of the calls, each made in a thread of its own, once all threads have started.

    They wait for locks for TIMEOUT_SECONDS: on a busy machine the thread that holds one may not run for seconds. With
    `lock_seconds` they wait so long for it on SQLite, and on the servers as long as they do in use.
    """
    gate = Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        gate.wait(TIMEOUT_SECONDS)
        return call()

    with ExitStack() as stack:
        stack.enter_context(patch.object(sqlite, "LOCK_SECONDS", lock_seconds or TIMEOUT_SECONDS))
        if lock_seconds is None:
            # What is no request waits for LONG_LOCK_SECONDS.
            for module in (postgresql, mariadb, mariadb_driver):
                stack.enter_context(patch.object(module, "has_request_context", return_value=False))
            for module in (postgresql, mariadb):
                stack.enter_context(patch.object(module, "LONG_LOCK_SECONDS", TIMEOUT_SECONDS))
        threads = stack.enter_context(ThreadPoolExecutor(len(calls)))
        futures = [threads.submit(begin, call) for call in calls]
        return [future.result(TIMEOUT_SECONDS) for future in futures]


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT_SECONDS, *, every: float = 0.005) -> None:
    """Poll until the condition holds, which another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "The condition did not become true."
        # Leaves the processor to the thread that is waited for.
        time.sleep(every)
