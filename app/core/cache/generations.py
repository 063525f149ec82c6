"""Caching that cannot go stale: an answer is kept under the generation of every table that it was read from.

The generation is read before the query and moved on after a commit, so a reader that started before the commit
stores its answer where nobody looks any more. Redis away is a slower answer, never an error.

Small answers are kept where all processes find them. Whole pages stay in the process that wrote them: to fetch one
from Redis would take longer than to send it.
"""

import functools
import hashlib
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import orjson
import sqlalchemy as sa
from cachelib.serializers import BaseSerializer
from flask import Flask, current_app
from flask_caching import Cache
from prometheus_client import Counter

from app.core.cache import redis_client
from app.core.cache.redis_client import attempt
from app.core.values import as_json

P = ParamSpec("P")
R = TypeVar("R")


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
            "CACHE_OPTIONS": redis_client.OPTIONS,
        }
    cache.init_app(app, {"CACHE_KEY_PREFIX": f"{app.config['REDIS_PREFIX']}:", "CACHE_SERIALIZER": _Json(), **settings})


class Shelf(Protocol):
    """Where answers are kept, each with the generations that it was computed under."""

    def look_up(self, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        """The generation of each table, and the answer that is kept for them, in one trip at most.

        Without generations the cache cannot be trusted or reached; without an answer there is none for today's.
        """

    def kept(self, key: str, generations: list[str]) -> Any:
        """The answer that is kept for these generations, or None."""

    def keep(self, key: str, generations: list[str], answer: Any, seconds: int) -> None:
        """Put an answer in the place of an older one."""


class SharedShelf:
    """JSON, for all processes."""

    def look_up(self, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        generations, (found,) = _read(tables, key)
        return generations, self._answer(found, generations)

    def kept(self, key: str, generations: list[str]) -> Any:
        return self._answer(attempt(cache.get, key), generations)

    def keep(self, key: str, generations: list[str], answer: Any, seconds: int) -> None:
        attempt(cache.set, key, [generations, answer], seconds)

    def _answer(self, found: Any, generations: list[str] | None) -> Any:
        fresh = isinstance(found, list) and len(found) == 2 and found[0] == generations
        return found[1] if fresh else None


class OwnShelf:
    """Bytes, in this process; the least used make room when there are more of them than `size`."""

    def __init__(self, size: int) -> None:
        self._room = size
        self._held: OrderedDict[str, tuple[list[str], bytes, float]] = OrderedDict()
        self._lock = threading.Lock()

    def look_up(self, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        generations, _ = _read(tables)
        return generations, None if generations is None else self.kept(key, generations)

    def kept(self, key: str, generations: list[str]) -> Any:
        with self._lock:
            found = self._held.get(key)
            if found is None or found[0] != generations or found[2] < time.monotonic():
                return None
            self._held.move_to_end(key)
            return found[1]

    def keep(self, key: str, generations: list[str], answer: bytes, seconds: int) -> None:
        with self._lock:
            self._forget(key)
            self._held[key] = generations, answer, time.monotonic() + seconds
            self._room -= len(answer)
            while self._room < 0:
                self._forget(next(iter(self._held)))

    def _forget(self, key: str) -> None:
        if found := self._held.pop(key, None):
            self._room += len(found[1])


shared = SharedShelf()
pages = OwnShelf(size=32 * 2**20)


def cached(*models: type, seconds: int = 60, shelf: Shelf = shared) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Remember a function's answer until one of `models` changes, for `seconds` at most.

    The arguments are part of the key, by their `repr`. A cold answer is computed once per process at a time.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        tables = sorted(_table(model) for model in models)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            text = ":".join([function.__module__, function.__qualname__, repr((args, kwargs))])
            key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            generations, answer = shelf.look_up(tables, key)
            _lookups.labels("away" if generations is None else "miss" if answer is None else "hit").inc()
            if answer is not None:
                return cast(R, answer)
            if generations is None:
                return function(*args, **kwargs)
            # Nobody waits for an answer that is out of date before it is there.
            moment = ":".join([key, *generations])
            with _lock:
                turn = _computing.setdefault(moment, threading.Lock())
            try:
                with turn:
                    # Whoever had the turn before may have answered it.
                    answer = shelf.kept(key, generations)
                    if answer is None:
                        answer = function(*args, **kwargs)
                        # Overtaken by a commit meanwhile, it must not take the place of a newer one.
                        if _read(tables)[0] == generations:
                            shelf.keep(key, generations, answer, seconds)
            finally:
                with _lock:
                    _computing.pop(moment, None)
            return cast(R, answer)

        return wrapper

    return decorate


def reachable() -> str:
    """The state of the cache: "ok", "down", or "in process" where there is no Redis to ask."""
    if not current_app.config["REDIS_URL"]:
        return "in process"
    return "ok" if attempt(cache.set, "ping", 1, 10) else "down"


def remember(key: str, value: Any, seconds: int) -> None:
    """Tell every process something that is true for a while; where the cache is away, nobody hears it."""
    attempt(cache.set, key, value, seconds)


def recall(key: str) -> Any:
    """What was last told under this key, or None."""
    return attempt(cache.get, key)


def announce(tables: set[str]) -> None:
    """Move the generations of these tables on; called after each commit that has changed them."""
    with _lock:
        _unannounced.update(tables)
        pending = sorted(_unannounced)
    # What Redis was too far away to hear is said again before anything is read from it.
    if attempt(cache.set_many, {_key(table): uuid.uuid4().hex for table in pending}, 0) is not None:
        with _lock:
            _unannounced.difference_update(pending)


def _read(tables: Sequence[str], *keys: str) -> tuple[list[str] | None, list[Any]]:
    """The generation of each table, or None where they cannot be trusted or reached, and what the keys hold."""
    nothing = [None] * len(keys)
    if _unannounced:
        announce(set())
        if _unannounced:
            return None, nothing
    found = attempt(cache.get_many, *map(_key, tables), *keys)
    if found is None:
        return None, nothing
    generations, kept = found[: len(tables)], found[len(tables) :]
    for position, (table, generation) in enumerate(zip(tables, generations, strict=True)):
        if generation is None:
            # `add` keeps the first of two that start at once; both then read the same one.
            attempt(cache.add, _key(table), uuid.uuid4().hex, 0)
            generations[position] = attempt(cache.get, _key(table))
    # Whatever else stands there, nobody here has written it.
    return (generations if all(isinstance(one, str) for one in generations) else None), kept


def _key(table: str) -> str:
    return f"generation:{table}"


def _table(model: type) -> str:
    return cast(str, sa.inspect(model).local_table.name)
