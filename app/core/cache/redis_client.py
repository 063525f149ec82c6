"""Redis as we use it: waited for a quarter of a second at most, and left alone for a while after it has failed."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

R = TypeVar("R")

OPTIONS: Any = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25, "retry": Retry(NoBackoff(), 0)}
"""A Redis that takes longer than this many seconds is away; the client would block for several."""
PAUSE = 1.0
"""Seconds for which a Redis that failed is left alone."""

log = structlog.get_logger()


class Breaker:
    """One for the process: whoever finds Redis away finds so for all."""

    alone_until = 0.0
    is_away = False


def attempt(call: Callable[..., R], *args: Any) -> R | None:
    """Ask Redis; None where it fails, and at once while it is left alone."""
    if time.monotonic() < Breaker.alone_until:
        return None
    try:
        answer = call(*args)
    except (RedisError, OSError, ValueError, TypeError) as error:
        Breaker.alone_until = time.monotonic() + PAUSE
        if not Breaker.is_away:
            log.warning("redis_away", error=repr(error))
        Breaker.is_away = True
        return None
    if Breaker.is_away:
        log.info("redis_back")
        Breaker.is_away = False
    return answer
