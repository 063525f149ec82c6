"""Counting requests in windows of time: exactly, in Redis for all workers or in the memory of one.

A trip to Redis for each request would cost a quarter of a cheap one. So a worker draws a block of a hundredth of the
limit, and hands that out itself. What it has not used after RETURN_SECONDS it gives back, and of the last tenth of a
limit each request is drawn by itself: nothing that is left lies about unused when others are refused.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any, NamedTuple

from app.core.cache.redis_client import CircuitBreaker

BLOCKS, RESERVE = 100, 10
"""A block is a hundredth of the limit, the reserve a tenth."""
RETURN_SECONDS = 0.25
"""How long a worker keeps a block."""
GRACE_SECONDS = 1.0
"""Where nothing is left, how long after the last block a request waits for what others return; one may have died."""
POLL_SECONDS = 0.02
MAX_CALLERS = 20_000
"""Callers that a worker remembers; those it has not heard of for longest are forgotten."""

# Keys expire and times are read by the clock of the server, in milliseconds. `lent`: the sum of blocks that workers
# hold. A block that a worker has used up is settled when it draws the next one.
_DRAW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, block, reserve, window, grace = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    redis.call('HSET', KEYS[1], 'begins', now, 'taken', 0, 'lent', 0, 'lent_at', 0)
    redis.call('PEXPIRE', KEYS[1], window)
    left = tonumber(window)
end
local found = redis.call('HMGET', KEYS[1], 'begins', 'taken', 'lent', 'lent_at')
local begins, taken, lent, lent_at = found[1], tonumber(found[2]), tonumber(found[3]), tonumber(found[4])
if ARGV[6] == begins then
    lent = lent - ARGV[7]
end
local size = math.min(math.max(limit - taken, 0), 1)
if block > 1 and limit - taken - block >= reserve then
    size, lent, lent_at = block, lent + block, now
end
redis.call('HSET', KEYS[1], 'taken', taken + size, 'lent', lent, 'lent_at', lent_at)
local may_return = size == 0 and lent > 0 and now < lent_at + grace
return {size, limit - taken - size, left, begins, may_return and 1 or 0}
"""
_SETTLE = """
if redis.call('HGET', KEYS[1], 'begins') == ARGV[1] then
    redis.call('HINCRBY', KEYS[1], 'lent', -ARGV[2])
    redis.call('HINCRBY', KEYS[1], 'taken', -ARGV[3])
end
"""


class Turn(NamedTuple):
    """Whether a request is admitted, and how many are left to its caller until the window ends, a Unix time."""

    remaining: int
    ends_at: float
    is_admitted: bool = True
    is_final: bool = True
    """Whether a refusal holds until the end of the window."""


@dataclass(slots=True)
class Block:
    """A part of a caller's window that one worker hands out; one of a single request is not lent."""

    left: int
    unclaimed: int
    """What was left in the window for all workers when this was drawn."""
    ends_at: float
    """The end of the window, a Unix time."""
    begins: bytes
    """Which window: when it began, by the clock of Redis."""
    lent: int
    drawn_at: float
    may_return: bool
    """Nothing is left, but other workers hold blocks."""


class LocalWindows:
    """Windows of this process; the first request of a caller begins one."""

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit, self._seconds = limit, seconds
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, key: str) -> Turn:
        """Count a request."""
        now = time.time()
        with self._lock:
            taken, ends_at = self._windows.pop(key, (0, 0.0))
            if now >= ends_at:
                taken, ends_at = 0, now + self._seconds
            is_admitted = taken < self._limit
            self._windows[key] = taken + is_admitted, ends_at
            if len(self._windows) > MAX_CALLERS:
                self._windows.popitem(last=False)
        return Turn(self._limit - taken - is_admitted, ends_at, is_admitted)


class SharedWindows:
    """Windows of all workers, in Redis."""

    def __init__(self, client: Any, breaker: CircuitBreaker, prefix: str, limit: int, seconds: int) -> None:
        self._breaker, self._prefix = breaker, prefix
        self._draw, self._settle = client.register_script(_DRAW), client.register_script(_SETTLE)
        self._window = (limit, limit // BLOCKS, limit // RESERVE, seconds * 1000, int(GRACE_SECONDS * 1000))

    def draw(self, key: str, used: Block | None) -> Block | None:
        """Draw a block, and settle one that is used up; None where Redis is away."""
        settled = (used.begins, used.lent) if used is not None else (b"", 0)
        now = time.time()
        answer = self._breaker.call(self._draw, [self._prefix + key], [*self._window, *settled])
        if answer is None:
            return None
        size, unclaimed, milliseconds, begins, may_return = answer
        # Timed from before the request: the window does not end earlier in Redis.
        ends_at = now + milliseconds / 1000
        return Block(size, unclaimed, ends_at, begins, size if size > 1 else 0, time.monotonic(), bool(may_return))

    def settle(self, key: str, block: Block) -> None:
        """Give back what is left of a block; where Redis is away it is lost until the window ends."""
        self._breaker.call(self._settle, [self._prefix + key], [block.begins, block.lent, block.left])


class Blocks:
    """The blocks that this worker holds, by caller. A thread gives them back, which runs only while there are some."""

    def __init__(self, shared: SharedWindows) -> None:
        self._shared = shared
        self._held: dict[str, Block] = {}
        self._lock = Lock()
        self._thread: Thread | None = None

    def take(self, key: str) -> Turn | None:
        """Take one request from a caller's block; None where there is nothing to take."""
        with self._lock:
            block = self._held.get(key)
            if block is None or block.left == 0 or time.time() >= block.ends_at:
                return None
            block.left -= 1
            return Turn(block.left + block.unclaimed, block.ends_at)

    def draw(self, key: str) -> Turn | None:
        """Draw a block for one request and keep the rest; None where Redis is away."""
        deadline = time.monotonic() + GRACE_SECONDS
        while True:
            drawn = self._shared.draw(key, self._used_up(key))
            if drawn is None:
                return None
            if not drawn.may_return or time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        is_admitted = drawn.left > 0
        drawn.left -= is_admitted
        if drawn.lent:
            self._keep(key, drawn)
        return Turn(drawn.left + drawn.unclaimed, drawn.ends_at, is_admitted, is_final=not drawn.may_return)

    def _used_up(self, key: str) -> Block | None:
        """The block of a caller of which nothing is left, to be settled."""
        with self._lock:
            held = self._held.get(key)
            return self._held.pop(key) if held is not None and held.left == 0 else None

    def _keep(self, key: str, drawn: Block) -> None:
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.begins == drawn.begins:
                # Another thread drew at the same time.
                drawn.left, drawn.lent = drawn.left + held.left, drawn.lent + held.lent
            self._held[key] = drawn
            if self._thread is None:
                self._thread = Thread(target=self._return_blocks, name="rate-limits", daemon=True)
                self._thread.start()

    def _return_blocks(self) -> None:
        while True:
            time.sleep(RETURN_SECONDS / 2)
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
                old = time.monotonic() - RETURN_SECONDS
                due = {key: block for key, block in self._held.items() if block.drawn_at < old}
                for key in due:
                    del self._held[key]
            for key, block in due.items():
                self._shared.settle(key, block)
