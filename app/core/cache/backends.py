"""Where cached answers are kept: as JSON for all processes, or as bytes in this one."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flask import Flask, current_app
from flask_caching import Cache

from app.core.cache.redis_client import OPTIONS, JsonSerializer, attempt

PAGES_BYTES = 32 * 2**20
"""Size of each process's cache of whole pages."""

Read = Callable[..., tuple[list[str] | None, list[Any]]]
"""Reads the generations of tables, and the values of further keys, in one round trip."""


cache = Cache()


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
        return self._answer(attempt(cache.get, key), generations)

    def set(self, key: str, generations: list[str], answer: Any, seconds: int) -> None:
        attempt(cache.set, key, [generations, answer], seconds)

    def _answer(self, entry: Any, generations: list[str] | None) -> Any:
        is_fresh = isinstance(entry, list) and len(entry) == 2 and entry[0] == generations
        return entry[1] if is_fresh else None


class LocalPageCache:
    """Answers as bytes, in this process; the least recently used are dropped beyond `size` bytes."""

    def __init__(self, size: int) -> None:
        self._free_bytes = size
        self._entries: OrderedDict[str, tuple[list[str], bytes, float]] = OrderedDict()
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

    def set(self, key: str, generations: list[str], answer: bytes, seconds: int) -> None:
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


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    settings: dict[str, Any] = {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 5000}
    if url:
        settings = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_OPTIONS": OPTIONS}
    prefix = f"{app.config['REDIS_PREFIX']}:"
    cache.init_app(app, {"CACHE_KEY_PREFIX": prefix, "CACHE_SERIALIZER": JsonSerializer(), **settings})
    app.extensions["local_pages"] = LocalPageCache(PAGES_BYTES)
