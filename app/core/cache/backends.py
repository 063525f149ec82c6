"""Caching that cannot go stale: an answer is kept under the generation of every table that it was read from.

The generation is read before the query and moved on after a commit, so a reader that started before the commit
stores its answer under a key that is not read any more. Redis away is a slower answer, never an error. Answers are
kept as JSON for all processes, or as bytes in this one.
"""

import functools
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence, Sized
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

import sqlalchemy as sa
from flask import Flask
from prometheus_client import Counter

from app.core.cache.generations import JsonSerializer, cache, generations_of_app
from app.core.cache.positions import sees
from app.core.request_context import current_application

P = ParamSpec("P")
R = TypeVar("R")

PAGES_BYTES = 8 * 2**20
"""Size of each process's cache of whole pages."""

NEAR_BYTES = 2**20
"""Size of the small answers that each process keeps beside Redis."""
NEAR_SECONDS = 5
"""How long: as pages, for the same reason."""

Read = Callable[..., tuple[list[str] | None, list[Any]]]
"""Reads the generations of tables, and the values of further keys, in one round trip."""

_JSON = JsonSerializer()

# prometheus_client's metrics belong to the process, whatever number of applications it has.
_lookups = Counter("itam_cache_lookups", "Answers that were looked for in the cache.", ["result"])
_away, _miss, _hit = (_lookups.labels(result) for result in ("away", "miss", "hit"))


class CacheBackend(Protocol):
    """A store of answers, each with the generations that it was computed under."""

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        """The generation of each table and the answer that is stored for them, in one round trip at most.

        Without generations the cache cannot be trusted or reached; without an answer there is none for today's.
        """

    def may_hold(self, key: str) -> bool:
        """Whether there may be an answer of any generations, without a round trip."""

    def get(self, key: str, generations: list[str]) -> Any:
        """The answer that this process has stored for these generations, or None."""

    def set(self, read: Read, lookup: "Lookup", answer: Any, seconds: int) -> None:
        """Store an answer in the place of an older one; one that a commit is known to have overtaken is not stored."""


class Lookup(NamedTuple):
    """What an answer is stored for: its key, the generations of its tables, and when they were read (monotonic)."""

    key: str
    tables: Sequence[str]
    generations: list[str]
    began: float


class SharedCache:
    """Answers as JSON, for all processes: in Redis, or in the memory of the only process."""

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        began = time.monotonic()
        generations = generations_of_app().known(tables)
        # A page has read the generations that its total depends on: 140 of the 950 µs of a page that is not cached.
        if generations is not None and (answer := self.get(key, generations)) is not None:
            return generations, answer
        generations, (entry,) = read(tables, key)
        answer = self._answer(entry, generations)
        if generations is not None and answer is not None:
            self._keep_near(Lookup(key, tables, generations, began), answer)
        return generations, answer

    def may_hold(self, key: str) -> bool:
        return True

    def get(self, key: str, generations: list[str]) -> Any:
        return _JSON.loads(near_answers().get(key, generations))

    def set(self, read: Read, lookup: Lookup, answer: Any, seconds: int) -> None:
        if read(lookup.tables)[0] == lookup.generations:
            cache.set(lookup.key, [lookup.generations, answer], seconds)
            self._keep_near(lookup, answer)

    def _keep_near(self, lookup: Lookup, answer: Any) -> None:
        # As JSON: a caller that changes its answer does not change the copy.
        near_answers().keep(lookup, _JSON.dumps(answer), NEAR_SECONDS)

    def _answer(self, entry: Any, generations: list[str] | None) -> Any:
        is_fresh = isinstance(entry, list) and len(entry) == 2 and entry[0] == generations
        return entry[1] if is_fresh else None


class LocalPageCache:
    """Answers with a length in bytes, in this process; the least recently used are dropped beyond `size` bytes."""

    def __init__(self, size: int) -> None:
        self._free_bytes = size
        self._entries: OrderedDict[str, tuple[Lookup, Sized, float]] = OrderedDict()
        self._lock = threading.Lock()

    def look_up(self, read: Read, tables: Sequence[str], key: str) -> tuple[list[str] | None, Any]:
        generations, _ = read(tables)
        return generations, None if generations is None else self.get(key, generations)

    def may_hold(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str, generations: list[str]) -> Any:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0].generations != generations or entry[2] < time.monotonic():
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def set(self, _read: Read, lookup: Lookup, answer: Sized, seconds: int) -> None:
        self.keep(lookup, answer, seconds)

    def keep(self, lookup: Lookup, answer: Sized, seconds: int) -> None:
        """Store an answer, unless there is one whose generations were read later: no trip to Redis tells this."""
        with self._lock:
            entry = self._entries.get(lookup.key)
            if entry is not None and entry[0].began > lookup.began:
                return
            self._drop(lookup.key)
            self._entries[lookup.key] = lookup, answer, time.monotonic() + seconds
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
    pages: LocalPageCache = current_application().extensions["local_pages"]
    return pages


def near_answers() -> LocalPageCache:
    """Copies of small answers that this process has fetched from Redis."""
    near: LocalPageCache = current_application().extensions["near_answers"]
    return near


def cached(
    *models: type, seconds: int = 60, backend: Callable[[], CacheBackend] = shared_cache
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache a function's answer until one of `models` changes, for `seconds` at most.

    The arguments are part of the key, by their `repr`. A cold answer is computed once per process at a time.
    `known`, an attribute of the function, answers with what is in the cache, or None.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        tables = sorted(_table(model) for model in models)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            key = _key_of_call(function, args, kwargs)
            state, store, began = generations_of_app(), backend(), time.monotonic()
            # The generations of an answer that there cannot be are asked together with what it is computed from.
            generations: list[str] | None = []
            answer: Any = None
            is_unknown = not store.may_hold(key) and state.ask_along()
            if not is_unknown:
                generations, answer = store.look_up(state.read, tables, key)
            (_away if generations is None else _miss if answer is None else _hit).inc()
            if answer is not None:
                return cast(R, answer)
            if generations is None or not sees(generations):
                return function(*args, **kwargs)
            # One lock per key and generations: a request never waits for an answer that is already out of date.
            with state.computing(":".join([key, *generations])):
                # The thread that had the turn before may have computed it.
                if is_unknown and store.may_hold(key):
                    generations = state.read(tables)[0]
                answer = None if generations is None else store.get(key, generations)
                if answer is None:
                    answer = function(*args, **kwargs)
                    if is_unknown:
                        generations = state.known(tables)
                    if generations is not None:
                        store.set(state.read, Lookup(key, tables, generations, began), answer, seconds)
            return cast(R, answer)

        wrapper.known = _known(function, tables, backend)  # type: ignore[attr-defined]
        return wrapper

    return decorate


def _known(
    function: Callable[..., R], tables: Sequence[str], backend: Callable[[], CacheBackend]
) -> Callable[..., R | None]:
    """A function that answers with what the cache has for the same arguments, or None."""

    def known(*args: Any, **kwargs: Any) -> R | None:
        key = _key_of_call(function, args, kwargs)
        generations, answer = backend().look_up(generations_of_app().read, tables, key)
        return cast("R | None", answer) if generations is not None and sees(generations) else None

    return known


def _key_of_call(function: Callable[..., Any], *call: Any) -> str:
    return key_of(":".join([function.__module__, function.__qualname__, repr(call)]))


def key_of(text: str) -> str:
    """The key of what a text names, which may be long."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def init_app(app: Flask) -> None:
    app.extensions["local_pages"] = LocalPageCache(PAGES_BYTES)
    app.extensions["near_answers"] = LocalPageCache(NEAR_BYTES)


def _table(model: type) -> str:
    return cast(str, sa.inspect(model).local_table.name)
