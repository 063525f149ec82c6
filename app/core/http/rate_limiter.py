"""Rate limits: logins by address, everything else by token, counted in Redis for all workers or in the process."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask import Flask, Response, after_this_request, request
from limits import RateLimitItem, parse
from redis import Redis

from app.core.addresses import client_network
from app.core.cache.redis_client import OPTIONS
from app.core.errors import TooManyRequests
from app.core.http.access import bearer_token
from app.core.http.request_windows import MAX_CALLERS, Blocks, LocalWindows, SharedWindows, Turn

V = TypeVar("V", bound=Callable[..., Any])

HEADERS = {
    "RateLimit-Limit": "How many requests the current window allows.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window.",
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request is admitted, and how many are left to its caller until the window ends, a Unix time."""

    limit: int
    remaining: int
    ends_at: float
    is_admitted: bool


class RateLimiter:
    """One limit, for all workers where Redis is; while it is away, each worker counts by itself."""

    def __init__(self, limit: RateLimitItem, shared: Callable[[int, int], SharedWindows] | None = None) -> None:
        self._limit = limit
        size = limit.amount, limit.get_expiry()
        self._own = LocalWindows(*size)
        self._blocks = None if shared is None else Blocks(shared(*size))
        self._refused: dict[str, Turn] = {}

    def take(self, caller: str) -> Allowance:
        """Count one request."""
        key = self._limit.key_for(caller)
        turn = self._refusal(key) or self._shared_turn(key) or self._own.take(key)
        if not turn.is_admitted and turn.is_final:
            if len(self._refused) >= MAX_CALLERS:
                self._refused.clear()
            self._refused[key] = turn
        return Allowance(self._limit.amount, turn.remaining, turn.ends_at, turn.is_admitted)

    def _refusal(self, key: str) -> Turn | None:
        """A refusal that still holds: who is refused costs no trip to Redis."""
        turn = self._refused.get(key)
        return turn if turn is not None and time.time() < turn.ends_at else None

    def _shared_turn(self, key: str) -> Turn | None:
        return None if self._blocks is None else self._blocks.take(key) or self._blocks.draw(key)


def limited_by_address(view: V) -> V:
    """Count a view by the address of its caller, under LOGIN_LIMIT: it costs a password hash."""
    view.is_limited_by_address = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask) -> None:
    shared = shared_windows(app)
    logins = RateLimiter(parse(app.config["LOGIN_LIMIT"]), shared)
    requests = RateLimiter(parse(app.config["API_LIMIT"]), shared)

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


def shared_windows(app: Flask) -> Callable[[int, int], SharedWindows] | None:
    """The windows of all workers for a limit and its seconds; None without Redis, where there is one worker."""
    if not app.config["REDIS_URL"]:
        return None
    client = Redis.from_url(app.config["REDIS_URL"], **OPTIONS)
    return partial(SharedWindows, client, app.extensions["redis_breaker"], f"{app.config['REDIS_PREFIX']}:limits:")


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
