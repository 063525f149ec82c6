"""The progress of a running import, and requests to stop it, both through the cache.

The work is one transaction: nothing that it writes shows before it commits, and SQLite lets nobody else write
meanwhile. Without the cache an import works the same, shows less and stops later.
"""

import time
from typing import Any

from app.core.cache import generations

UPDATE_SECONDS = 0.25
"""Seconds between two updates of the progress."""
EXPIRY_SECONDS = 3600


class Stopped(Exception):
    """The import has been cancelled."""


class Progress:
    """The number of rows that a phase of an import has processed, of how many."""

    def __init__(self, import_id: int, phase: str, total: int, *, may_stop: bool = True) -> None:
        self._may_stop = may_stop
        self._import_id = import_id
        self._phase = phase
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._updated = 0.0
        self._update()

    def advance(self, rows: int) -> None:
        """Count further rows as processed; raises Stopped where the import has been cancelled."""
        self._done += rows
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        seconds = self._updated - self._started
        rate = self._done / seconds if self._done and seconds else None
        left = None if rate is None else max(self._total - self._done, 0) / rate
        progress = {
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "rows_per_second": None if rate is None else round(rate),
            "seconds_left": None if left is None else round(left, 1),
        }
        generations.remember(_progress_key(self._import_id), progress, EXPIRY_SECONDS)
        if self._may_stop and generations.recall(_stop_key(self._import_id)):
            raise Stopped


def last_progress(import_id: int) -> dict[str, Any] | None:
    """The progress that the import's job has last shown."""
    progress = generations.recall(_progress_key(import_id))
    return progress if isinstance(progress, dict) else None


def request_stop(import_id: int) -> None:
    generations.remember(_stop_key(import_id), 1, EXPIRY_SECONDS)


def _progress_key(import_id: int) -> str:
    return f"import:{import_id}:progress"


def _stop_key(import_id: int) -> str:
    return f"import:{import_id}:stop"
