"""Rate limits: logins by address, everything else by token, counted in Redis for all workers or in the process."""

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Flask, Response, after_this_request, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage, storage_from_string

from app.core.addresses import client_network
from app.core.cache.redis_client import OPTIONS, CircuitBreaker
from app.core.errors import TooManyRequests
from app.core.http.access import bearer_token

V = TypeVar("V", bound=Callable[..., Any])

HEADERS = {
    "RateLimit-Limit": "How many requests the current window allows.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window.",
}
BLOCKS = 100
"""A worker draws its share in blocks of a hundredth of the limit, because a trip to Redis for each request would cost
too much; it can withhold at most one block from the others."""
MAX_CALLERS = 20_000
"""Callers that a worker remembers."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request is admitted, and how many are left to its caller until the window ends, a Unix time."""

    limit: int
    remaining: int
    ends_at: float
    is_admitted: bool


@dataclass(slots=True)
class _Block:
    """How many requests are left to a caller in this worker's block, and in the limit of all workers."""

    left: int
    unclaimed: int
    ends_at: float

    def is_used_up(self, now: float) -> bool:
        """Whether to draw: in a new window, or a further block of this one."""
        return now >= self.ends_at or (self.left == 0 and self.unclaimed > 0)


class RateLimiter:
    """One limit as one worker applies it; while the shared storage is away, the worker counts by itself."""

    def __init__(
        self, limit: RateLimitItem, storage: Storage, breaker: CircuitBreaker, block_size: int | None = None
    ) -> None:
        self._limit = limit
        self._shared = storage
        self._breaker = breaker
        self._own = MemoryStorage()
        self._block_size = block_size or max(1, limit.amount // BLOCKS)
        self._blocks: dict[str, _Block] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> Allowance:
        """Count one request."""
        with self._lock:
            block = self._blocks.get(caller)
            if block is not None and not block.is_used_up(time.time()):
                return self._take_from(block)
        # Two threads that draw at once hold a block more than they need, and neither waits for the other.
        drawn = self._draw(caller)
        with self._lock:
            if len(self._blocks) >= MAX_CALLERS:
                self._blocks.clear()
            block = self._blocks.get(caller)
            if block is not None and block.ends_at > time.time():
                drawn.left += block.left
            self._blocks[caller] = drawn
            return self._take_from(drawn)

    def _take_from(self, block: _Block) -> Allowance:
        is_admitted = block.left > 0
        block.left -= is_admitted
        return Allowance(self._limit.amount, block.left + block.unclaimed, block.ends_at, is_admitted)

    def _draw(self, caller: str) -> _Block:
        key = self._limit.key_for(caller)
        return self._breaker.call(self._draw_from, self._shared, key) or self._draw_from(self._own, key)

    def _draw_from(self, storage: Storage, key: str) -> _Block:
        drawn = storage.incr(key, self._limit.get_expiry(), self._block_size)
        over = max(drawn - self._limit.amount, 0)
        return _Block(
            left=max(self._block_size - over, 0),
            unclaimed=max(self._limit.amount - drawn, 0),
            ends_at=float(storage.get_expiry(key)),
        )


def limited_by_address(view: V) -> V:
    """Count a view by the address of its caller, under LOGIN_LIMIT: it costs a password hash."""
    view.is_limited_by_address = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    options = {**OPTIONS, "key_prefix": f"{app.config['REDIS_PREFIX']}:limits"} if url else {}
    storage = cast(Storage, storage_from_string(url or "memory://", **options))
    breaker: CircuitBreaker = app.extensions["redis_breaker"]
    logins = RateLimiter(parse(app.config["LOGIN_LIMIT"]), storage, breaker, block_size=1)
    requests = RateLimiter(parse(app.config["API_LIMIT"]), storage, breaker)

    def count() -> None:
        view = app.view_functions.get(request.endpoint or "")
        if getattr(view, "is_limited_by_address", False):
            allowance = logins.take(f"login:{_network()}")
        else:
            allowance = requests.take(_caller())

        def show(response: Response) -> Response:
            seconds = str(max(1, math.ceil(allowance.ends_at - time.time())))
            response.headers["RateLimit-Limit"] = str(allowance.limit)
            response.headers["RateLimit-Remaining"] = str(allowance.remaining)
            response.headers["RateLimit-Reset"] = seconds
            if not allowance.is_admitted:
                response.headers["Retry-After"] = seconds
            return response

        after_this_request(show)
        if not allowance.is_admitted:
            raise TooManyRequests()

    app.before_request(count)


def _network() -> str:
    """The client's network: a client with an IPv6 /64 must not get a limit for each of its addresses."""
    return client_network(request.remote_addr or "")


def _caller() -> str:
    """The key under which a caller's requests are counted; a token is hashed, because keys can be listed."""
    # Not the header: its scheme has many spellings.
    token = bearer_token()
    if token is None:
        return f"anonymous:{_network()}"
    return f"token:{hashlib.sha256(token.encode(errors='replace')).hexdigest()[:32]}"
