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
_alone_until = 0.0


def attempt(call: Callable[..., R], *args: Any) -> R | None:
    """Ask Redis; None where it fails, and at once while it is left alone."""
    global _alone_until  # noqa: PLW0603 - one for the process: whoever finds it away finds so for all
    if time.monotonic() < _alone_until:
        return None
    try:
        return call(*args)
    except (RedisError, OSError, ValueError, TypeError) as error:
        log.warning("redis_away", error=repr(error), seconds=PAUSE)
        _alone_until = time.monotonic() + PAUSE
        return None


def look_again() -> None:
    """Do not leave it alone any longer."""
    global _alone_until  # noqa: PLW0603 - see above
    _alone_until = 0.0
