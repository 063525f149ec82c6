"""Doing several things at the same moment."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30
"""Seconds after which a test that waits for another thread fails."""


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What these calls return, each made in a thread of its own, and none before all threads are there."""
    gate = Barrier(len(calls))

    def begin(call: Callable[[], T]) -> T:
        gate.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [begun.result(PATIENCE) for begun in [threads.submit(begin, call) for call in calls]]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something has happened in another thread."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "It did not happen."
