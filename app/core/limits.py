"""How often somebody may ask: logins by address, everything else by token; counted in Redis, or in the process."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, Response, current_app, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

V = TypeVar("V", bound=Callable[..., Any])

TIMEOUT = 0.25
"""Seconds that Redis may take; after that the process counts for itself, so that no limit is ever off."""

HEADERS = {
    "RateLimit-Limit": "How many requests the current window allows.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the next window.",
}


def limited_by_address(view: V) -> V:
    """Count a view by the address of whoever calls it, under LOGIN_LIMIT: it costs a password hash."""
    view.is_limited_by_address = True  # type: ignore[attr-defined]
    return view


def _is_limited_by_address() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "is_limited_by_address", False)


def _limit() -> str:
    return cast(str, current_app.config["LOGIN_LIMIT" if _is_limited_by_address() else "API_LIMIT"])


def _who() -> str:
    token = request.headers.get("Authorization")
    if token is None or _is_limited_by_address():
        return f"{'login' if _is_limited_by_address() else 'anonymous'}:{request.remote_addr}"
    # Secrets do not become keys that others may list.
    return f"token:{hashlib.sha256(token.encode(errors='replace')).hexdigest()[:32]}"


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    options: Any = {}
    if url:
        options = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0)}
    limiter = Limiter(
        _who,
        application_limits=[ApplicationLimit(_limit, key_function=_who)],
        storage_uri=url or "memory://",
        storage_options=options,
        in_memory_fallback_enabled=True,
        key_prefix="itam",
    )
    limiter.init_app(app)

    def tell(response: Response) -> Response:
        limit = limiter.current_limit
        if limit is not None:
            _tell(response, limit)
        return response

    app.after_request(tell)


def _tell(response: Response, limit: RequestLimit) -> None:
    """Say how much is left. flask-limiter's own headers tell the reset as a date, not in seconds."""
    try:
        reset_at, remaining = limit.window
    except (RedisError, OSError):
        return
    seconds = max(1, math.ceil(reset_at - time.time()))
    response.headers["RateLimit-Limit"] = str(limit.limit.amount)
    response.headers["RateLimit-Remaining"] = str(remaining)
    response.headers["RateLimit-Reset"] = str(seconds)
    if response.status_code == 429:
        response.headers["Retry-After"] = str(seconds)
