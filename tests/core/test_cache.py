"""A cached answer is never older than the last commit, and a cache that is away is only slower."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from app.core.cache import redis_client
from app.core.cache.backends import CacheBackend, LocalPageCache, cached, shared_cache
from app.core.cache.generations import cache
from app.core.db.unit_of_work import db
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.backends import REDIS_URL, Backend, on_servers
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.faults.proxy import Proxy, place_of
from tests.openapi import Document
from tests.threads import TIMEOUT_SECONDS, run_concurrently, wait_until


class Names:
    """The names of the datacenters, cached, with a count of how often the database was asked."""

    def __init__(self, app: Flask, backend: Callable[[], CacheBackend] = shared_cache) -> None:
        self.app = app
        self.computed = 0
        self.while_computing: Callable[[], Any] = lambda: None
        self._cached = cached(Datacenter, backend=backend)(self._select)

    def __call__(self, prefix: str = "") -> list[str]:
        with self.app.app_context():
            return self._cached(prefix)

    def __repr__(self) -> str:
        return "names"

    def _select(self, prefix: str) -> list[str]:
        self.computed += 1
        names = db.session.scalars(sa.select(Datacenter.name).order_by(Datacenter.name)).all()
        db.session.rollback()
        self.while_computing()
        return [name for name in names if name.startswith(prefix)]


@pytest.fixture(params=["shared", "local"])
def names(app: Flask, request: pytest.FixtureRequest) -> Names:
    pages = LocalPageCache(1000)
    return Names(app) if request.param == "shared" else Names(app, lambda: pages)


def test_an_answer_is_remembered(names: Names, make: Make) -> None:
    make(Datacenter, name="a1")
    make(Datacenter, name="b1")
    assert names() == names() == ["a1", "b1"]
    assert names.computed == 1
    assert names("a") == ["a1"]
    assert names("b") == ["b1"]
    assert names("c") == names("c") == []
    assert names.computed == 4


def test_a_commit_makes_it_out_of_date(names: Names, make: Make, admin: Client) -> None:
    identity = make(Datacenter, name="a").id
    assert names() == ["a"]
    admin.call("PATCH", f"/api/datacenters/{identity}", json={"name": "b"})
    assert names() == ["b"]
    admin.call("DELETE", f"/api/datacenters/{identity}")
    assert names() == []
    make(Datacenter, name="c")
    assert names() == ["c"]


def test_what_is_rolled_back_or_about_something_else_does_not(app: Flask, names: Names, make: Make) -> None:
    assert names() == []
    make(Server)
    with app.app_context():
        db.session.add(Datacenter(name="never"))
        db.session.flush()
        db.session.rollback()
        db.session.commit()
    assert names() == []
    assert names.computed == 1


@pytest.mark.race
def test_a_change_is_not_seen_before_its_commit(app: Flask, names: Names) -> None:
    assert names() == []
    with app.app_context():
        db.session.add(Datacenter(name="a"))
        db.session.flush()
        assert _elsewhere(names) == []
        db.session.commit()
    assert names() == ["a"]


def _elsewhere(names: Names) -> list[str]:
    (listed_names,) = run_concurrently([names])
    return listed_names


@pytest.mark.race
def test_a_reader_that_is_overtaken_by_a_commit_leaves_nothing_old(names: Names, make: Make, admin: Client) -> None:
    """It read before the commit and stores after it."""
    identity = make(Datacenter, name="old").id
    has_read, may_store = threading.Event(), threading.Event()

    def wait() -> None:
        has_read.set()
        assert may_store.wait(TIMEOUT_SECONDS)

    def change() -> list[str]:
        assert has_read.wait(TIMEOUT_SECONDS)
        names.while_computing = lambda: None
        admin.call("PATCH", f"/api/datacenters/{identity}", json={"name": "new"})
        # Whoever asks after the commit has been acknowledged sees it, while the reader still computes.
        after = names()
        may_store.set()
        return after

    names.while_computing = wait
    old, new = run_concurrently([names, change])
    assert (old, new) == (["old"], ["new"])
    assert names() == ["new"]
    assert names.computed == 2


@pytest.mark.race
def test_a_cold_answer_is_computed_once(names: Names, make: Make) -> None:
    make(Datacenter, name="a")
    calls = 8
    begun = threading.Semaphore(0)

    def ask() -> list[str]:
        begun.release()
        return names()

    def wait_for_all() -> None:
        for _ in range(calls):
            assert begun.acquire(timeout=TIMEOUT_SECONDS)

    names.while_computing = wait_for_all
    assert run_concurrently([ask] * calls) == [["a"]] * calls
    assert names.computed == 1


def test_an_answer_that_fails_is_not_remembered(app: Flask, names: Names, make: Make) -> None:
    def fail() -> None:
        raise ValueError

    names.while_computing = fail
    with pytest.raises(ValueError):  # noqa: PT011 - our own
        names()
    assert app.extensions["generations"]._computing == {}
    names.while_computing = lambda: None
    assert names() == []


def test_the_least_used_answers_make_room(app: Flask, make: Make) -> None:
    for name in ("a", "b", "c"):
        make(Datacenter, name=name)
    pages = LocalPageCache(2)
    names = Names(app, lambda: pages)
    for prefix, computed in (("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4), ("c", 5)):
        assert names(prefix) == [prefix]
        assert names.computed == computed
    assert names() == names() == ["a", "b", "c"], "What is larger than all the room is not kept."
    assert names.computed == 7


@on_servers
def test_a_page_whose_total_is_known_asks_redis_at_most_once(
    make: Make, admin: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commas make it another page of the same list. Where the database numbers commits, only totals are in Redis."""
    own = 0 if backend.name == "postgresql" else 1
    make(Datacenter, name="a")
    make(Datacenter, name="b")
    asked: list[Any] = []
    get_many = cache.get_many
    monkeypatch.setattr(cache, "get_many", lambda *keys: asked.append(keys) or get_many(*keys))

    def total(commas: str) -> Any:
        asked.clear()
        return admin.call("GET", f"/api/datacenters?page_size=1&sort={commas}")["pagination"]["total"]

    assert total("") == total(",") == 2
    assert len(asked) == own
    admin.call("POST", "/api/datacenters", json={"name": "c"}, expect=201)
    assert total(",,") == total(",,,") == 3
    assert len(asked) == own


@on_servers
def test_what_is_kept_in_redis_is_json(app: Flask, make: Make) -> None:
    """With pickle, whoever can write there could run code here."""
    names = Names(app)
    make(Datacenter, name="a")
    assert names() == ["a"]
    prefix = app.extensions["cache"][cache].key_prefix
    with redis.Redis.from_url(REDIS_URL) as client:
        cached = [client.get(key) for key in client.keys(f"{prefix}*")]
    assert ["a"] in [value[-1] for value in map(orjson.loads, cached) if isinstance(value, list)]
    assert all(isinstance(orjson.loads(value), str | list | int) for value in cached)


@on_servers
@pytest.mark.parametrize("nonsense", [b"\x80\x04nonsense", b"[1]", b"17"])
def test_nonsense_in_redis_is_no_answer(app: Flask, names: Names, make: Make, admin: Client, nonsense: bytes) -> None:
    make(Datacenter, name="a")
    assert names() == ["a"]
    prefix = app.extensions["cache"][cache].key_prefix
    with redis.Redis.from_url(REDIS_URL) as client:
        for key in client.keys(f"{prefix}*"):
            client.set(key, nonsense)
    assert names() == ["a"]
    assert admin.call("GET", "/api/datacenters")["pagination"]["total"] == 1


@contextmanager
def silent_server() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port where connections are taken and nothing is ever answered, and the connections."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1], taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT_SECONDS)
            for connection in taken:
                connection.close()


def use(app: Flask, document: Document, admin: Client) -> None:
    """What a client does in a while: everything is answered, and with what is true."""
    client = Client(app, document, admin.token)
    before = client.call("GET", "/api/datacenters")["pagination"]["total"]
    created = client.call("POST", "/api/datacenters", json={"name": f"dc-{before}"}, expect=201)["data"]
    assert client.call("GET", "/api/datacenters")["pagination"]["total"] == before + 1
    client.call("DELETE", f"/api/datacenters/{created['id']}")
    assert client.call("GET", "/api/datacenters")["pagination"]["total"] == before
    ready = client.call("GET", "/api/health/ready")["data"]
    others = {"database": "ok", "queue": "ok", "audit": "ok", "storage": "ok"}
    assert ready == {"status": "degraded", "cache": "down", **others}


def test_redis_that_refuses(build_app: BuildApp, document: Document, admin: Client) -> None:
    use(build_app(REDIS_URL="redis://127.0.0.1:1/0"), document, admin)


def test_redis_that_is_silent(
    build_app: BuildApp, document: Document, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request waits, and not for long; the others do not even ask while it is left alone."""
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 3600.0)
    with silent_server() as (port, taken):
        app = build_app(REDIS_URL=f"redis://127.0.0.1:{port}/0")
        use(app, document, admin)
        assert len(taken) == 1


def test_no_request_waits_for_redis_once_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however often a thread asks Redis meanwhile."""
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 0.001)
    pings, calls = list[None](), list[None]()
    is_away = True

    def answer(asked: list[None]) -> str:
        asked.append(None)
        if is_away:
            raise TimeoutError
        return "answer"

    breaker = redis_client.RedisCircuitBreaker(lambda: answer(pings))
    assert breaker.call(answer, calls) is None
    for times in (5, 10, 15):
        wait_until(lambda times=times: len(pings) >= times)  # type: ignore[misc]
        assert run_concurrently([lambda: breaker.call(answer, calls)] * 8) == [None] * 8
    assert len(calls) == 1
    is_away = False
    wait_until(lambda: breaker.call(answer, calls) == "answer")
    assert len(calls) == 2


def test_requests_that_fail_together_have_redis_asked_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 3600.0)
    together = threading.Barrier(8)

    def fail() -> None:
        together.wait(TIMEOUT_SECONDS)
        raise TimeoutError

    before = threading.active_count()
    breaker = redis_client.RedisCircuitBreaker(list)
    assert run_concurrently([lambda: breaker.call(fail)] * 8) == [None] * 8
    assert threading.active_count() == before + 1


@on_servers
def test_what_changed_while_redis_was_away_is_not_read_from_it(
    build_app: BuildApp, document: Document, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 0.001)
    proxy = Proxy(place_of(REDIS_URL, 6379))
    with proxy.listening() as port:
        app = build_app(REDIS_URL=f"redis://127.0.0.1:{port}{urlsplit(REDIS_URL).path}")
        names, client = Names(app), Client(app, document, admin.token)
        identity = client.call("POST", "/api/datacenters", json={"name": "old"}, expect=201)["data"]["id"]
        assert names() == names() == ["old"]
        assert names.computed == 1
        proxy.cut()
        client.call("PATCH", f"/api/datacenters/{identity}", json={"name": "new"})
        assert names() == ["new"]
        proxy.mend()
        assert names() == names() == ["new"]
        wait_until(lambda: client.call("GET", "/api/health/ready")["data"]["cache"] == "ok")
        assert names() == ["new"]
        computed = names.computed
        assert names() == ["new"]
        assert names.computed == computed
