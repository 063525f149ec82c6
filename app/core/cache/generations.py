"""Caching that cannot go stale: an answer is kept under the generation of every table that it was read from.

The generation is read before the query and moved on after a commit, so a reader that started before the commit
stores its answer where nobody looks any more. Redis away is a slower answer, never an error.
"""

import functools
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from flask import Flask, current_app
from prometheus_client import Counter

from app.core.cache.backends import CacheBackend, cache, shared_cache
from app.core.cache.redis_client import attempt

P = ParamSpec("P")
R = TypeVar("R")

# prometheus_client's metrics belong to the process, whatever number of applications it has.
_lookups = Counter("itam_cache_lookups", "Answers that were looked for in the cache.", ["result"])


class Generations:
    """The generations of an application's tables, and the answers that it is computing."""

    def __init__(self) -> None:
        self._unannounced: set[str] = set()
        self._computing: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def announce(self, tables: set[str]) -> None:
        """Move the generations of these tables on; called after each commit that has changed them."""
        with self._lock:
            self._unannounced.update(tables)
            pending = sorted(self._unannounced)
        # What could not be written to Redis is written before anything is read from it again.
        if attempt(cache.set_many, {_key(table): uuid.uuid4().hex for table in pending}, 0) is not None:
            with self._lock:
                self._unannounced.difference_update(pending)

    def read(self, tables: Sequence[str], *keys: str) -> tuple[list[str] | None, list[Any]]:
        """The generation of each table, or None where they cannot be trusted or reached, and the values of the keys."""
        nothing = [None] * len(keys)
        if self._unannounced:
            self.announce(set())
            if self._unannounced:
                return None, nothing
        found = attempt(cache.get_many, *map(_key, tables), *keys)
        if found is None:
            return None, nothing
        generations, values = found[: len(tables)], found[len(tables) :]
        for position, (table, generation) in enumerate(zip(tables, generations, strict=True)):
            if generation is None:
                # `add` keeps the first of two that start at once; both then read the same one.
                attempt(cache.add, _key(table), uuid.uuid4().hex, 0)
                generations[position] = attempt(cache.get, _key(table))
        # Anything but text was not written by us.
        return (generations if all(isinstance(one, str) for one in generations) else None), values

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
            state, store = _state(), backend()
            generations, answer = store.look_up(state.read, tables, key)
            _lookups.labels("away" if generations is None else "miss" if answer is None else "hit").inc()
            if answer is not None:
                return cast(R, answer)
            if generations is None:
                return function(*args, **kwargs)
            # Nobody waits for an answer that is out of date before it is computed.
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


def reachable() -> str:
    """The state of the cache: "ok", "down", or "in process" where no Redis is configured."""
    if not current_app.config["REDIS_URL"]:
        return "in process"
    return "ok" if attempt(cache.set, "ping", 1, 10) else "down"


def remember(key: str, value: Any, seconds: int) -> None:
    """Publish a value to every process for a while; where the cache is away it is lost."""
    attempt(cache.set, key, value, seconds)


def recall(key: str) -> Any:
    """The value that was last published under this key, or None."""
    return attempt(cache.get, key)


def init_app(app: Flask) -> None:
    app.extensions["generations"] = Generations()


def move_generations(tables: set[str]) -> None:
    """Make the cached answers that were read from these tables out of date."""
    _state().announce(tables)


def _state() -> Generations:
    state: Generations = current_app.extensions["generations"]
    return state


def _key(table: str) -> str:
    return f"generation:{table}"


def _table(model: type) -> str:
    return cast(str, sa.inspect(model).local_table.name)
