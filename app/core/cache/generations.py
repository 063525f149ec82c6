"""The generations of tables: each commit moves those of the tables that it has changed.

They are kept in Flask-Caching's store, which is Redis, for all processes, or the memory of the process where there is
only one; or by the database, see numbered.py.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import orjson
from cachelib.serializers import BaseSerializer
from flask import Flask, current_app, has_request_context
from flask_caching import Cache
from flask_caching.backends import RedisCache

from app.core.cache.redis_client import OPTIONS, ThreadedRedis, attempt
from app.core.db.unit_of_work import unit_of_work
from app.core.request_context import current_application
from app.core.values import as_json

cache = Cache()

CHANGING_SECONDS = 60
"""How long the mark of a process that died while it committed keeps a table from being cached."""
_POSITION = "position"
_CHANGING = 0
"""Stands for the generation of a table that is being changed: it is no text, so nothing is cached under it."""


class JsonSerializer(BaseSerializer):
    """Values travel as JSON: with the default, pickle, anyone who can write to Redis can run code here."""

    def dumps(self, value: Any, protocol: int = 0) -> bytes:
        return orjson.dumps(value, default=as_json)

    def loads(self, bvalue: bytes | None) -> Any:
        try:
            return None if bvalue is None else orjson.loads(bvalue)
        except orjson.JSONDecodeError:
            return None


class RedisStore(RedisCache):
    """Flask-Caching's Redis backend behind the circuit breaker: where Redis is away, each call returns None."""

    @classmethod
    def factory(cls, app: Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> "RedisStore":
        client = ThreadedRedis.from_url(config["CACHE_REDIS_URL"], **OPTIONS)
        return cls(*args, **{**kwargs, "host": client, "key_prefix": config["CACHE_KEY_PREFIX"]})

    def get(self, key: str) -> Any:
        return attempt(super().get, key)

    def get_many(self, *keys: str) -> Any:
        return attempt(self._get_all, *keys)

    def _get_all(self, *keys: str) -> Any:
        prefix = self._get_prefix()
        texts = self._read_client.execute_command("MGET", *[prefix + key for key in keys])
        values = [self.serializer.loads(text) for text in texts]
        if len(values) != len(keys):
            raise ValueError("Redis answered another number of values.")
        return values

    def set(self, key: str, value: Any, timeout: Any = None) -> Any:
        return attempt(super().set, key, value, timeout)

    def set_many(self, mapping: dict[str, Any], timeout: Any = None) -> Any:
        return attempt(self._set_all, mapping) if timeout == 0 else attempt(super().set_many, mapping, timeout)

    def _set_all(self, mapping: dict[str, Any]) -> Any:
        """Values that do not expire are one command, instead of a pipeline that takes longer than the server."""
        prefix = self._get_prefix()
        return self._write_client.mset({prefix + key: self.serializer.dumps(value) for key, value in mapping.items()})

    def add(self, key: str, value: Any, timeout: Any = None) -> Any:
        return attempt(super().add, key, value, timeout)

    def raise_number(self, key: str, number: int) -> None:
        """Store a number, unless a larger one is stored: commits may be published in another order than made."""
        attempt(partial(self._write_client.zadd, gt=True), self._get_prefix() + key, {"": number})

    def number(self, key: str) -> int | None:
        """The largest number that was stored, 0 if there is none; None where Redis is away."""
        return attempt(lambda: int(self._write_client.zscore(self._get_prefix() + key, "") or 0))


class Generations:
    """The generations of an application's tables, and the answers that it is computing."""

    def __init__(self) -> None:
        self._unannounced: set[str] = set()
        self._changing: Counter[str] = Counter()
        self._computing: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @contextmanager
    def changing(self, tables: set[str]) -> Iterator[None]:
        """Have nothing of these tables be read from the cache while a transaction commits and they are announced.

        Others see its effect from the moment of the commit: the status of an import, for one. Outside of requests the
        other processes learn of it too; a request is answered after the announcement, which says as much.
        """
        with self._lock:
            self._changing.update(tables)
        try:
            self._hold(tables)
            yield
        except BaseException:
            # Perhaps it has been committed; and the marks must not stay.
            self.announce(tables)
            raise
        finally:
            with self._lock:
                self._changing.subtract(tables)
                self._changing = +self._changing

    def announce(self, tables: set[str], mark: str = "") -> None:
        """Move the generations of these tables on, after each commit that has changed them; they end with the mark."""
        with self._lock:
            self._unannounced.update(tables)
            pending = sorted(self._unannounced)
        # What could not be moved is moved before anything is read from the cache again.
        if self._move(pending, mark):
            with self._lock:
                self._unannounced.difference_update(pending)

    def renew(self) -> None:
        """Give all tables generations that they have never had, also if the database is an older state of itself."""

    def read(self, tables: Sequence[str], *keys: str) -> tuple[list[str] | None, list[Any]]:
        """The generation of each table, or None where they cannot be trusted or reached, and the values of the keys."""
        nothing = [None] * len(keys)
        if not self._are_trusted(tables):
            return None, nothing
        stored = cache.get_many(*map(_key, tables), *keys)
        if stored is None:
            return None, nothing
        generations, values = stored[: len(tables)], stored[len(tables) :]
        for position, (table, generation) in enumerate(zip(tables, generations, strict=True)):
            if generation is None:
                # `add` keeps the first of two that start at once; both then read the same one.
                cache.add(_key(table), uuid.uuid4().hex, 0)
                generations[position] = cache.get(_key(table))
        # Anything but text was not written by us.
        if not all(isinstance(one, str) for one in generations):
            return None, values
        if has_request_context():
            unit_of_work().transaction.known_generations.update(zip(tables, generations, strict=True))
        return generations, values

    def known(self, tables: Sequence[str]) -> list[str] | None:
        """The generations of these tables as this request has read them, if it has, and has only read since."""
        work = unit_of_work()
        known = work.transaction.known_generations
        if not work.is_reading or self._changing or self._unannounced or not known.keys() >= set(tables):
            return None
        return [known[table] for table in tables]

    def ask_along(self) -> bool:
        """Have the generations be asked with who asks, if that is open: the first query's answer brings them."""
        return False

    def _are_trusted(self, tables: Sequence[str]) -> bool:
        """Whether this process is not changing any of the tables, and could announce what it has changed."""
        if self._changing and not self._changing.keys().isdisjoint(tables):
            return False
        if self._unannounced:
            self.announce(set())
        return not self._unannounced

    def _hold(self, tables: set[str]) -> None:
        """Prepare for a commit that changes tables."""
        if current_app.config["REDIS_URL"] and not has_request_context():
            cache.set_many({_key(table): _CHANGING for table in tables}, CHANGING_SECONDS)

    def _move(self, tables: Sequence[str], mark: str) -> bool:
        """Move the generations of tables on, after a commit; whether that was possible."""
        return cache.set_many({_key(table): uuid.uuid4().hex + mark for table in tables}, 0) is not None

    @contextmanager
    def computing(self, key: str) -> Iterator[None]:
        """Let one thread at a time compute the answer of a key."""
        with self._lock:
            turn = self._computing.setdefault(key, threading.Lock())
        try:
            with turn:
                yield
        finally:
            with self._lock:
                self._computing.pop(key, None)


def reachable() -> str:
    """The state of the cache: "ok", "down", or "in process" where no Redis is configured."""
    if not current_app.config["REDIS_URL"]:
        return "in process"
    return "ok" if cache.set("ping", 1, 10) else "down"


def remember(key: str, value: Any, seconds: int) -> None:
    """Publish a value to every process for a while; where the cache is away it is lost."""
    cache.set(key, value, seconds)


def recall(key: str) -> Any:
    """The value that was last published under this key, or None."""
    return cache.get(key)


def move_generations(tables: set[str]) -> None:
    """Make the cached answers that were read from these tables out of date."""
    generations_of_app().announce(tables)


def publish_position(position: int) -> None:
    """Tell every process of a commit; see positions.py, which needs Redis."""
    store: Any = cache.cache
    store.raise_number(_POSITION, position)


def position_published() -> int | None:
    """The latest position of a commit that was published; None where that is not known."""
    store: Any = cache.cache
    number: int | None = store.number(_POSITION)
    return number or None


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    settings: dict[str, Any] = {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 5000}
    if url:
        store = f"{RedisStore.__module__}.{RedisStore.__qualname__}"
        settings = {"CACHE_TYPE": store, "CACHE_REDIS_URL": url}
    prefix = f"{app.config['REDIS_PREFIX']}:"
    cache.init_app(app, {"CACHE_KEY_PREFIX": prefix, "CACHE_SERIALIZER": JsonSerializer(), **settings})
    app.extensions["generations"] = Generations()


def hold_generations(tables: set[str]) -> AbstractContextManager[None]:
    """Have nothing of these tables be read from the cache until the block ends."""
    return generations_of_app().changing(tables)


def generations_of_app() -> Generations:
    """The generations that the current application has read and not yet announced."""
    state: Generations = current_application().extensions["generations"]
    return state


def _key(table: str) -> str:
    return f"generation:{table}"
