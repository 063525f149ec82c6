"""Redis with short timeouts and a circuit breaker: it is never a reason to fail, and seldom one to wait."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from flask import Flask, current_app
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

R = TypeVar("R")

OPTIONS: Any = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25, "retry": Retry(NoBackoff(), 0)}
"""Connection options: timeouts in seconds, and no retries; by default the client would block for several seconds."""
NONSENSE = (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""What the client raises where Redis is away, or where what answers is not Redis: it trusts the types of replies."""
PAUSE_SECONDS = 1.0
"""How long no request is sent to a Redis that has failed."""

log = structlog.get_logger()


class RedisCircuitBreaker:
    """Calls Redis, and after a failure leaves it alone for PAUSE_SECONDS, in all threads of the application."""

    def __init__(self) -> None:
        self._closed_at = 0.0
        self._has_failed = False

    def call(self, function: Callable[..., R], *args: Any) -> R | None:
        """The result of the function; None where it fails, and at once during the pause."""
        if time.monotonic() < self._closed_at:
            return None
        try:
            result = function(*args)
        except NONSENSE as error:
            self._closed_at = time.monotonic() + PAUSE_SECONDS
            if not self._has_failed:
                log.warning("redis_away", error=repr(error))
            self._has_failed = True
            return None
        if self._has_failed:
            log.info("redis_back")
            self._has_failed = False
        return result


def init_app(app: Flask) -> None:
    app.extensions["redis_breaker"] = RedisCircuitBreaker()


def attempt(function: Callable[..., R], *args: Any) -> R | None:
    """Call Redis through the application's circuit breaker; None where it is away."""
    breaker: RedisCircuitBreaker = current_app.extensions["redis_breaker"]
    return breaker.call(function, *args)
