"""Announcements of jobs: heard by who listens, across whatever happens to Redis."""

from collections.abc import Collection
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from flask import Flask

from app.core.cache import redis_client
from app.core.db.unit_of_work import db
from app.core.jobs import pubsub
from app.core.jobs.queue import enqueue
from tests.backends import REDIS_URL, on_postgresql
from tests.conftest import BuildApp
from tests.faults.proxy import Proxy, place_of
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = on_postgresql


def queue(app: Flask, *kinds: str) -> None:
    with app.app_context():
        for kind in kinds:
            enqueue(kind, 1)
        db.session.commit()


def test_what_was_missed_is_looked_for_when_redis_is_back(
    app: Flask, build_app: BuildApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 0.001)
    proxy = Proxy(place_of(REDIS_URL, 6379))
    with proxy.listening() as port:
        distant = build_app(REDIS_URL=f"redis://127.0.0.1:{port}{urlsplit(REDIS_URL).path}")
        heard: list[Collection[str] | None] = []
        listening, stopping = Event(), Event()
        listener = Thread(target=pubsub.listen, args=(distant, heard.append, listening, stopping))
        proxy.cut()
        listener.start()
        # Nobody hears it, and the commit does not mind.
        queue(distant, "unheard")
        proxy.mend()
        assert listening.wait(TIMEOUT_SECONDS)
        assert heard[0] is None, "It may have missed something."
        queue(app, "test.b", "test.a", "test.a")
        wait_until(lambda: ["test.a", "test.b"] in heard)
        proxy.cut()
        proxy.mend()
        wait_until(lambda: heard.count(None) > 1)
        queue(app, "test.c")
        wait_until(lambda: ["test.c"] in heard)
        stopping.set()
        listener.join(TIMEOUT_SECONDS)
        assert not listener.is_alive()
