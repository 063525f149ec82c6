"""Windows of requests that all workers share, in Redis.

A trip to Redis for each request would cost a quarter of a cheap one. So a worker draws a block of a hundredth of the
limit, and hands that out itself (rate_limiter.py). Of the last tenth of a limit each request is drawn by itself:
nothing that is left lies about unused when others are refused.
"""

import time
from dataclasses import dataclass
from typing import Any

from app.core.cache.redis_client import RedisCircuitBreaker

BLOCKS, RESERVE = 100, 10
"""A block is a hundredth of the limit, the reserve a tenth."""
GRACE_SECONDS = 1.0
"""Where nothing is left, how long after the last block a request waits for what others return; one may have died."""

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


class SharedWindows:
    """Windows of all workers, in Redis."""

    def __init__(self, client: Any, breaker: RedisCircuitBreaker, prefix: str, limit: int, seconds: int) -> None:
        self._breaker, self._prefix = breaker, prefix
        self._draw, self._settle = client.register_script(_DRAW), client.register_script(_SETTLE)
        self._window = (limit, limit // BLOCKS, limit // RESERVE, seconds * 1000, int(GRACE_SECONDS * 1000))

    def draw(self, key: str, used: Block | None) -> Block | None:
        """Draw a block, and settle one that is used up; None where Redis is away."""
        settled = (used.begins, used.lent) if used is not None else (b"", 0)
        return self._breaker.call(self._draw_block, self._prefix + key, settled)

    def _draw_block(self, key: str, settled: tuple[bytes, int]) -> Block:
        now = time.time()
        size, unclaimed, milliseconds, begins, may_return = self._draw([key], [*self._window, *settled])
        # Timed from before the request: the window does not end earlier in Redis.
        ends_at = now + milliseconds / 1000
        return Block(size, unclaimed, ends_at, begins, size if size > 1 else 0, time.monotonic(), bool(may_return))

    def settle(self, key: str, block: Block) -> None:
        """Give back what is left of a block; where Redis is away it is lost until the window ends."""
        self._breaker.call(self._settle, [self._prefix + key], [block.begins, block.lent, block.left])
