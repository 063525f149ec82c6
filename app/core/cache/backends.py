"""Caching that cannot go stale: an answer is kept under the generation of every table that it was read from.

The generation is read before the query and moved on after a commit, so a reader that started before the commit
stores its answer where nobody looks any more. Redis away is a slower answer, never an error. Answers are kept as JSON
for all processes, or as bytes in this one.
"""

import functools
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence, Sized
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import sqlalchemy as sa
from flask import Flask, current_app
from prometheus_client import Counter

from app.core.cache.generations import cache, generations_of_app
from app.core.cache.positions import sees

P = ParamSpec("P")
R = TypeVar("R")

PAGES_BYTES = 32 * 2**20
"""Size of each process's cache of whole pages."""

Read = Callable[..., tuple[list[str] | None, list[Any]]]
"""Reads the generations of tables, and the values of further keys, in one round trip."""

# prometheus_client's metrics belong to the process, whatever number of applications it has.
_lookups = Counter("itam_cache_lookups", "Answers that were looked for in the cache.", ["result"])


class CacheBackend(Protocol):
    """A store of answers, each with the generations that it was computed under."""

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        """The generation of each table and the answer that is stored for them, in one round trip at most.

        Without generations the cache cannot be trusted or reached; without an answer there is none for today's.
        """

    def get(self, key: str, generations: list[str]) -> Any:
        """The answer that is stored for these generations, or None."""

    def set(self, key: str, generations: list[str], answer: Any, seconds: int) -> None:
        """Store an answer in the place of an older one."""


class SharedCache:
    """Answers as JSON, for all processes: in Redis, or in the memory of the only process."""

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        generations, (entry,) = read(tables, key)
        return generations, self._answer(entry, generations)

    def get(self, key: str, generations: list[str]) -> Any:
        return self._answer(cache.get(key), generations)

    def set(self, key: str, generations: list[str], answer: Any, seconds: int) -> None:
        cache.set(key, [generations, answer], seconds)

    def _answer(self, entry: Any, generations: list[str] | None) -> Any:
        is_fresh = isinstance(entry, list) and len(entry) == 2 and entry[0] == generations
        return entry[1] if is_fresh else None


class LocalPageCache:
    """Answers with a length in bytes, in this process; the least recently used are dropped beyond `size` bytes."""

    def __init__(self, size: int) -> None:
        self._free_bytes = size
        self._entries: OrderedDict[str, tuple[list[str], Sized, float]] = OrderedDict()
        self._lock = threading.Lock()

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        generations, _ = read(tables)
        return generations, None if generations is None else self.get(key, generations)

    def get(self, key: str, generations: list[str]) -> Any:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] != generations or entry[2] < time.monotonic():
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def set(self, key: str, generations: list[str], answer: Sized, seconds: int) -> None:
        with self._lock:
            self._drop(key)
            self._entries[key] = generations, answer, time.monotonic() + seconds
            self._free_bytes -= len(answer)
            while self._free_bytes < 0:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        if entry := self._entries.pop(key, None):
            self._free_bytes += len(entry[1])


SHARED = SharedCache()


def shared_cache() -> CacheBackend:
    """The cache of all processes, for small answers."""
    return SHARED


def local_pages() -> CacheBackend:
    """The application's cache of whole pages: to fetch one from Redis would take longer than to send it."""
    pages: LocalPageCache = current_app.extensions["local_pages"]
    return pages


def cached(
    *models: type, seconds: int = 60, backend: Callable[[], CacheBackend] = shared_cache
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache a function's answer until one of `models` changes, for `seconds` at most.

    The arguments are part of the key, by their `repr`. A cold answer is computed once per process at a time.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        tables = sorted(_table(model) for model in models)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            text = ":".join([function.__module__, function.__qualname__, repr((args, kwargs))])
            key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            state, store = generations_of_app(), backend()
            generations, answer = store.look_up(state.read, tables, key)
            _lookups.labels("away" if generations is None else "miss" if answer is None else "hit").inc()
            if answer is not None:
                return cast(R, answer)
            if generations is None or not sees(generations):
                return function(*args, **kwargs)
            # One lock per key and generations: a request never waits for an answer that is already out of date.
            with state.computing(":".join([key, *generations])):
                # The thread that had the turn before may have computed it.
                answer = store.get(key, generations)
                if answer is None:
                    answer = function(*args, **kwargs)
                    # Overtaken by a commit meanwhile, it must not take the place of a newer one.
                    if state.read(tables)[0] == generations:
                        store.set(key, generations, answer, seconds)
            return cast(R, answer)

        return wrapper

    return decorate


def init_app(app: Flask) -> None:
    app.extensions["local_pages"] = LocalPageCache(PAGES_BYTES)


def _table(model: type) -> str:
    return cast(str, sa.inspect(model).local_table.name)
