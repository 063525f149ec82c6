"""A circuit breaker: a storage that hangs may delay a few requests, and must not occupy every thread."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.core.storage.protocol import StorageError

R = TypeVar("R")

log = structlog.get_logger()

PAUSE_SECONDS = 1.0
"""From the beginning of a call that failed to the next one that is let through."""


class BucketCircuitBreaker:
    """After a failure one call at a time is let through, at most one in PAUSE_SECONDS, until one succeeds."""

    def __init__(self) -> None:
        self.has_failed = False
        self.succeeded_at = float("-inf")
        """In monotonic time."""
        self._closed_until = 0.0
        self._trial = threading.Lock()

    def call(self, function: Callable[[], R]) -> R:
        """The result of the function; raises StorageError at once where it is not let through."""
        if not self.has_failed:
            return self._attempt(function)
        if time.monotonic() < self._closed_until or not self._trial.acquire(blocking=False):
            raise StorageError("The storage has just failed to answer, and is tried again in a moment.")
        try:
            return self._attempt(function)
        finally:
            self._trial.release()

    def _attempt(self, function: Callable[[], R]) -> R:
        begun = time.monotonic()
        try:
            result = function()
        except FileNotFoundError:
            self._succeed()
            raise
        except StorageError as error:
            self._closed_until = begun + PAUSE_SECONDS
            if not self.has_failed:
                log.warning("storage_away", error=str(error))
            self.has_failed = True
            raise
        self._succeed()
        return result

    def _succeed(self) -> None:
        self.succeeded_at = time.monotonic()
        if self.has_failed:
            log.info("storage_back")
        self.has_failed = False
