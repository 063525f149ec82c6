"""What one caller may ask of all workers together, drawn from Redis in blocks: a trip for each would cost too much."""

import threading
import time
from dataclasses import dataclass

from limits import RateLimitItem
from limits.storage import MemoryStorage, Storage

from app.core.cache.redis_client import attempt

PART = 100
"""A worker draws the hundredth part of a limit at once: that much it may keep from the others at most."""
MOST_CALLERS = 20_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request is admitted, and what is left to its caller until the window ends, a Unix time."""

    limit: int
    remaining: int
    ends_at: float
    is_admitted: bool


@dataclass(slots=True)
class _Held:
    """What is left to a caller in this worker's block, and of the limit for all."""

    left: int
    unclaimed: int
    ends_at: float

    def is_stale(self, now: float) -> bool:
        """Whether it is time to draw: in a new window, or a further block of this one."""
        return now >= self.ends_at or (self.left == 0 and self.unclaimed > 0)


class Allowances:
    """The allowances that one worker hands out under a limit; while the storage is away, it counts for itself."""

    def __init__(self, limit: RateLimitItem, storage: Storage, block: int | None = None) -> None:
        self._limit = limit
        self._shared = storage
        self._own = MemoryStorage()
        self._block = block or max(1, limit.amount // PART)
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> Allowance:
        """Count one request."""
        with self._lock:
            held = self._held.get(caller)
            if held is not None and not held.is_stale(time.time()):
                return self._take_from(held)
        # Two that draw at the same time hold a block more than they need, and nobody waits for the other.
        drawn = self._draw(caller)
        with self._lock:
            if len(self._held) >= MOST_CALLERS:
                self._held.clear()
            held = self._held.get(caller)
            if held is not None and held.ends_at > time.time():
                drawn.left += held.left
            self._held[caller] = drawn
            return self._take_from(drawn)

    def _take_from(self, held: _Held) -> Allowance:
        is_admitted = held.left > 0
        held.left -= is_admitted
        return Allowance(self._limit.amount, held.left + held.unclaimed, held.ends_at, is_admitted)

    def _draw(self, caller: str) -> _Held:
        key = self._limit.key_for(caller)
        return attempt(self._draw_from, self._shared, key) or self._draw_from(self._own, key)

    def _draw_from(self, storage: Storage, key: str) -> _Held:
        drawn = storage.incr(key, self._limit.get_expiry(), self._block)
        over = max(drawn - self._limit.amount, 0)
        return _Held(
            left=max(self._block - over, 0),
            unclaimed=max(self._limit.amount - drawn, 0),
            ends_at=float(storage.get_expiry(key)),
        )
