"""How far an import is, told while it works, and the wish that it stop.

Both go through the cache, because the work is one transaction: nothing that it writes shows before it is done,
and SQLite lets nobody else write meanwhile. Without the cache an import works the same and tells less.
"""

import time
from typing import Any

from app.core.cache import generations

EVERY = 0.25
"""Seconds between two tellings."""
KEPT = 3600


class Stopped(Exception):
    """Somebody wants the import to end."""


class Progress:
    """The rows that a phase of an import has done, of how many."""

    def __init__(self, import_id: int, phase: str, total: int, *, may_stop: bool = True) -> None:
        self._may_stop = may_stop
        self._import_id = import_id
        self._phase = phase
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._told = 0.0
        self._tell()

    def advance(self, rows: int) -> None:
        """Note that more rows are done; raises Stopped where the import is to end."""
        self._done += rows
        if time.monotonic() - self._told >= EVERY:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        seconds = self._told - self._began
        rate = self._done / seconds if self._done and seconds else None
        left = None if rate is None else max(self._total - self._done, 0) / rate
        shown = {
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "rows_per_second": None if rate is None else round(rate),
            "seconds_left": None if left is None else round(left, 1),
        }
        generations.remember(_key(self._import_id), shown, KEPT)
        if self._may_stop and generations.recall(_stop(self._import_id)):
            raise Stopped


def told(import_id: int) -> dict[str, Any] | None:
    """What an import that is at work has last told of its progress."""
    found = generations.recall(_key(import_id))
    return found if isinstance(found, dict) else None


def ask_to_stop(import_id: int) -> None:
    generations.remember(_stop(import_id), 1, KEPT)


def _key(import_id: int) -> str:
    return f"import:{import_id}:progress"


def _stop(import_id: int) -> str:
    return f"import:{import_id}:stop"
