"""Whether a server of databases has just failed to answer a request of this process."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from app.core.db.timeouts import SILENCE_SECONDS

PAUSE_SECONDS = 0.1
"""Before each time that a thread asks: the read that has waited is repeated at once, and must not wait again."""


class Silence:
    """True for SILENCE_SECONDS after a request has waited in vain, unless the server answers before."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._asking = threading.Lock()

    def begin(self, ask: Callable[[], object] | None = None) -> None:
        """Meanwhile a thread calls `ask`, which returns if the server answers: perhaps only the statement was slow."""
        self._ends_at = time.monotonic() + SILENCE_SECONDS
        if ask is not None and self._asking.acquire(blocking=False):
            threading.Thread(target=self._end_when_answered, args=(ask,), name="silence", daemon=True).start()

    def end(self) -> None:
        self._ends_at = 0.0

    def __bool__(self) -> bool:
        return self._ends_at > 0 and time.monotonic() < self._ends_at

    def _end_when_answered(self, ask: Callable[[], object]) -> None:
        try:
            while self:
                time.sleep(PAUSE_SECONDS)
                # Whatever it raises, there was no answer.
                with suppress(Exception):
                    ask()
                    self.end()
        finally:
            self._asking.release()
