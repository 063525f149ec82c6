"""Rate limits: logins by address, everything else by token, counted in Redis for all workers or in the process.

A worker counts exactly, in blocks that it draws from the window of all workers. What it has not used of a block after
RETURN_SECONDS it gives back.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeVar

from flask import Flask, after_this_request
from limits import RateLimitItem, parse
from redis import Redis

from app.core.addresses import client_network
from app.core.cache.redis_client import OPTIONS
from app.core.errors import TooManyRequests
from app.core.http.access import bearer_token
from app.core.http.envelope import Answer
from app.core.http.limits.shared_windows import GRACE_SECONDS, Block, SharedWindows
from app.core.http.session_cookies import token_of_caller
from app.core.request_context import current_request

V = TypeVar("V", bound=Callable[..., Any])

RETURN_SECONDS = 0.25
"""How long a worker keeps a block."""
POLL_SECONDS = 0.02
MAX_CALLERS = 20_000
"""Callers that a worker remembers; those it has not heard of for longest are forgotten."""
HEADERS = {
    "RateLimit-Limit": "How many requests the current window allows.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window.",
}


class Turn(NamedTuple):
    """Whether a request is admitted, and how many are left to its caller until the window ends, a Unix time."""

    remaining: int
    ends_at: float
    is_admitted: bool = True
    is_final: bool = True
    """Whether a refusal holds until the end of the window."""


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
            admitted, ends_at = self._windows.pop(key, (0, 0.0))
            if now >= ends_at:
                admitted, ends_at = 0, now + self._seconds
            is_admitted = admitted < self._limit
            self._windows[key] = admitted + is_admitted, ends_at
            if len(self._windows) > MAX_CALLERS:
                self._windows.popitem(last=False)
        return Turn(self._limit - admitted - is_admitted, ends_at, is_admitted)


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
        """A caller's block that is used up and has to be settled."""
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


class RateLimiter:
    """One limit, for all workers where Redis is; while it is away, each worker counts by itself."""

    def __init__(self, limit: RateLimitItem, shared: Callable[[int, int], SharedWindows] | None = None) -> None:
        self._limit = limit
        size = limit.amount, limit.get_expiry()
        self._own = LocalWindows(*size)
        self._blocks = None if shared is None else Blocks(shared(*size))
        self._refused: dict[str, Turn] = {}
        self._prefix = limit.key_for()

    @property
    def amount(self) -> int:
        """How many requests a window allows."""
        return self._limit.amount

    def take(self, caller: str) -> Turn:
        """Count one request."""
        key = f"{self._prefix}/{caller}"
        turn = self._refusal(key) or self._shared_turn(key) or self._own.take(key)
        if not turn.is_admitted and turn.is_final:
            if len(self._refused) >= MAX_CALLERS:
                self._refused.clear()
            self._refused[key] = turn
        return turn

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
        view = app.view_functions.get(current_request().endpoint or "")
        is_login = getattr(view, "is_limited_by_address", False)
        limiter, caller = (logins, f"login:{_network()}") if is_login else (requests, _caller())
        turn = limiter.take(caller)

        def show(response: Answer) -> Answer:
            seconds = str(max(1, math.ceil(turn.ends_at - time.time())))
            counted = str(limiter.amount), str(turn.remaining), seconds
            response.standing = [*response.standing, *zip(HEADERS, counted, strict=True)]
            if not turn.is_admitted:
                response.headers["Retry-After"] = seconds
            return response

        after_this_request(show)
        if not turn.is_admitted:
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
    return client_network(current_request().remote_addr or "")


def _caller() -> str:
    """The key under which a caller's requests are counted; a token is hashed, because keys can be listed."""
    # Not the header: its scheme has many spellings.
    token = bearer_token()
    if token is None:
        token = token_of_caller()
    if token is None:
        return f"anonymous:{_network()}"
    return f"token:{hashlib.sha256(token.encode(errors='replace')).hexdigest()[:32]}"
