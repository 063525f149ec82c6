"""Caching that cannot go stale: an answer is kept under the generation of every table that it was read from.

The generation is read before the query and moved on after a commit, so a reader that started before the commit
stores its answer where nobody looks any more. Redis away is a slower answer, never an error.
"""

import functools
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import orjson
import sqlalchemy as sa
from cachelib.serializers import BaseSerializer
from flask import Flask, current_app
from flask_caching import Cache
from prometheus_client import Counter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.core.database import as_json

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT = 0.25
"""Seconds that Redis may take to connect or to answer."""
PAUSE = 1.0
"""Seconds for which a Redis that failed is left alone."""


class _Json(BaseSerializer):
    """Values travel as JSON: with the default, pickle, whoever can write to Redis can run code here."""

    def dumps(self, value: Any, protocol: int = 0) -> bytes:
        return orjson.dumps(value, default=as_json)

    def loads(self, bvalue: bytes | None) -> Any:
        try:
            return None if bvalue is None else orjson.loads(bvalue)
        except orjson.JSONDecodeError:
            return None


_lookups = Counter("itam_cache_lookups", "Answers that were looked for in the cache.", ["result"])

cache = Cache()
_asleep_until = 0.0
_unannounced: set[str] = set()
_computing: dict[str, threading.Lock] = {}
_lock = threading.Lock()


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    settings: dict[str, Any] = {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 5000}
    if url:
        settings = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": url,
            "CACHE_OPTIONS": {
                "socket_connect_timeout": TIMEOUT,
                "socket_timeout": TIMEOUT,
                "retry": Retry(NoBackoff(), 0),
            },
        }
    cache.init_app(app, {"CACHE_KEY_PREFIX": "itam:", "CACHE_SERIALIZER": _Json(), **settings})


def cached(*models: type, seconds: int = 60) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Remember a function's JSON-ready answer until one of `models` changes, for `seconds` at most.

    The arguments are part of the key, by their `repr`. A cold answer is computed once per process at a time.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        tables = sorted(_table(model) for model in models)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            generations = _generations(tables)
            if generations is None:
                _lookups.labels("away").inc()
                return function(*args, **kwargs)
            text = ":".join([function.__module__, function.__qualname__, repr((args, kwargs)), *generations])
            key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            answer = _attempt(cache.get, key)
            _lookups.labels("miss" if answer is None else "hit").inc()
            if answer is not None:
                return cast(R, answer)
            with _lock:
                turn = _computing.setdefault(key, threading.Lock())
            try:
                with turn:
                    answer = _attempt(cache.get, key)
                    if answer is None:
                        answer = function(*args, **kwargs)
                        _attempt(cache.set, key, answer, seconds)
            finally:
                with _lock:
                    _computing.pop(key, None)
            return cast(R, answer)

        return wrapper

    return decorate


def reachable() -> str:
    """The state of the cache: "ok", "down", or "in process" where there is no Redis to ask."""
    if not current_app.config["REDIS_URL"]:
        return "in process"
    return "ok" if _attempt(cache.set, "ping", 1, 10) else "down"


def remember(key: str, value: Any, seconds: int) -> None:
    """Tell every process something that is true for a while; where the cache is away, nobody hears it."""
    _attempt(cache.set, key, value, seconds)


def recall(key: str) -> Any:
    """What was last told under this key, or None."""
    return _attempt(cache.get, key)


@event.listens_for(Session, "after_commit")
def _move_generations(session: Session) -> None:
    if tables := session.info.pop("changed_tables", None):
        _announce(tables)


@event.listens_for(Session, "after_rollback")
def _keep_generations(session: Session) -> None:
    session.info.pop("changed_tables", None)


def _announce(tables: set[str]) -> None:
    with _lock:
        _unannounced.update(tables)
        pending = sorted(_unannounced)
    # What Redis was too far away to hear is said again before anything is read from it.
    if _attempt(cache.set_many, {_key(table): uuid.uuid4().hex for table in pending}, 0) is not None:
        with _lock:
            _unannounced.difference_update(pending)


def _generations(tables: Sequence[str]) -> list[str] | None:
    """The current generation of each table, or None where the cache cannot be trusted or reached."""
    if _unannounced:
        _announce(set())
        if _unannounced:
            return None
    found = _attempt(cache.get_many, *map(_key, tables))
    if found is None:
        return None
    for position, (table, generation) in enumerate(zip(tables, found, strict=True)):
        if generation is None:
            # `add` keeps the first of two that start at once; both then read the same one.
            _attempt(cache.add, _key(table), uuid.uuid4().hex, 0)
            found[position] = _attempt(cache.get, _key(table))
    return None if None in found else cast("list[str]", list(found))


def _attempt(call: Callable[..., Any], *args: Any) -> Any:
    """Ask the cache, or answer None at once while it is left alone after a failure."""
    global _asleep_until  # noqa: PLW0603 - one breaker per process, like the connection pool behind it
    if time.monotonic() < _asleep_until:
        return None
    try:
        return call(*args)
    except (RedisError, OSError, ValueError, TypeError):
        _asleep_until = time.monotonic() + PAUSE
        return None


def _key(table: str) -> str:
    return f"generation:{table}"


def _table(model: type) -> str:
    return cast(str, sa.inspect(model).local_table.name)
