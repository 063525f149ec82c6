"""Whether a server of databases has just failed to answer a request of this process."""

import time

from app.core.db.timeouts import SILENCE_SECONDS


class Silence:
    """True for SILENCE_SECONDS after a request has waited in vain, unless the server answers another one."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def begin(self) -> None:
        self._ends_at = time.monotonic() + SILENCE_SECONDS

    def end(self) -> None:
        self._ends_at = 0.0

    def __bool__(self) -> bool:
        return self._ends_at > 0 and time.monotonic() < self._ends_at
