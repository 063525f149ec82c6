"""Redis is cut in the middle of its replies, or answers nonsense: nobody notices, and nobody is let in."""

from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from flask import Flask

from app.auth.lockout import MAX_FAILURES
from app.core.cache import redis_client
from app.core.cache.generations import generations_of_app, recall, remember
from app.core.http.limits.rate_limiter import shared_windows
from app.core.http.limits.shared_windows import Block
from app.core.jobs import pubsub
from tests.backends import REDIS_URL, on_servers
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp, SignIn
from tests.faults.proxy import Edit, MakeEdits, Proxy, place_of, unchanged
from tests.openapi import Document
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = on_servers

REPLIES = {
    "not Redis": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "garbage": bytes(range(128, 256)),
    "number": b":1\r\n",
    "text": b"+OK\r\n",
    "nothing": b"$-1\r\n",
    "no items": b"*0\r\n",
    "one item": b"*1\r\n$1\r\nx\r\n",
    "too many": b"*7\r\n" + b":1\r\n" * 7,
    "other types": b"*5\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n*0\r\n$-1\r\n",
    "length": b"$999999999999\r\n",
}
"""What Redis answers instead."""


HANDSHAKE = (b"HELLO", b"CLIENT", b"SELECT")
"""The requests with which a connection begins."""


class Nonsense:
    """Answers what makes no sense, to all requests or to those after the handshake."""

    def __init__(self, reply: bytes, *, at_once: bool) -> None:
        self._reply, self._at_once = reply, at_once

    def edits(self) -> tuple[Edit, Edit]:
        is_honest = False

        def of_request(content: bytes) -> bytes:
            nonlocal is_honest
            is_honest = not self._at_once and any(word in content for word in HANDSHAKE)
            return content

        return of_request, lambda content: content if is_honest else self._reply


def cut_in_half() -> tuple[Edit, Edit]:
    """The first half of a reply arrives, and then the end of the connection."""
    is_cut = False

    def of_reply(content: bytes) -> bytes | None:
        nonlocal is_cut
        if is_cut or len(content) < 2:
            return None
        is_cut = True
        return content[: len(content) // 2]

    return unchanged, of_reply


FAULTS: dict[str, MakeEdits] = {
    "cut": cut_in_half,
    **{name: Nonsense(reply, at_once=False).edits for name, reply in REPLIES.items()},
    **{f"{name} at once": Nonsense(REPLIES[name], at_once=True).edits for name in ("not Redis", "number", "length")},
}


def through(proxy_port: int) -> str:
    return f"redis://127.0.0.1:{proxy_port}{urlsplit(REDIS_URL).path}"


@pytest.mark.parametrize("edits", FAULTS.values(), ids=FAULTS)
def test_no_reply_is_an_error(build_app: BuildApp, edits: MakeEdits, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise it would be left alone after the first failure.
    monkeypatch.setattr(redis_client.RedisCircuitBreaker, "_leave_alone", lambda _breaker, _error: None)
    monkeypatch.setitem(redis_client.OPTIONS, "socket_timeout", 0.02)
    with Proxy(place_of(REDIS_URL, 6379), edits).listening() as port:
        app = build_app(REDIS_URL=through(port))
        windows = shared_windows(app)
        assert windows is not None
        with app.app_context():
            for _ in range(2):
                generations_of_app().announce({"datacenters"})
                generations_of_app().read(["datacenters", "servers"], "a key")
                remember("a key", "a value", 60)
                recall("a key")
                pubsub.announce(["test.a"])
                window = windows(1000, 60)
                block = window.draw("somebody", None)
                window.settle("somebody", block or Block(1, 1, 0.0, b"0", 1, 0.0, may_return=False))


@pytest.mark.parametrize("name", ["cut", "not Redis", "too many", "length"])
def test_nobody_notices_and_nobody_is_let_in(
    build_app: BuildApp,
    document: Document,
    admin: Client,
    sign_in: SignIn,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 0.05)
    proxy = Proxy(place_of(REDIS_URL, 6379), FAULTS[name])
    victim, leaver = sign_in(), sign_in()
    with proxy.listening() as port:
        app = build_app(REDIS_URL=through(port))
        client, anonymous = Client(app, document, admin.token), Client(app, document)
        created = client.call("POST", "/api/datacenters", json={"name": "site"}, expect=201)["data"]
        assert client.call("GET", "/api/datacenters")["pagination"]["total"] == 1
        client.call("DELETE", f"/api/datacenters/{created['id']}")
        assert client.call("GET", "/api/datacenters")["pagination"]["total"] == 0
        client.call("GET", "/api/health/ready")
        # Locks and the ends of sessions are in the database.
        wrong = {"username": victim.user.username, "password": "not the password"}
        for _ in range(MAX_FAILURES):
            anonymous.call("POST", "/api/auth/login", json=wrong, expect=401)
        anonymous.call("POST", "/api/auth/login", json={**wrong, "password": PASSWORD}, expect=401)
        Client(app, document, leaver.token).call("POST", "/api/auth/logout")
        Client(app, document, leaver.token).call("GET", "/api/auth/me", expect=401)
        proxy.edits = lambda: (unchanged, unchanged)
        proxy.cut_once()
        wait_until(lambda: client.call("GET", "/api/health/ready")["data"]["cache"] == "ok")


@pytest.mark.parametrize("edits", FAULTS.values(), ids=FAULTS)
def test_announcements_that_make_no_sense(
    app: Flask, build_app: BuildApp, edits: MakeEdits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker listens on until it hears of jobs again."""
    monkeypatch.setattr(pubsub, "PAUSE_SECONDS", 0.01)
    monkeypatch.setitem(redis_client.OPTIONS, "socket_timeout", 0.05)
    proxy = Proxy(place_of(REDIS_URL, 6379), edits)
    heard: list[str] = []
    listening, stopping = Event(), Event()

    def wake(kinds: object) -> None:
        heard.append(str(kinds))

    with proxy.listening() as port:
        distant = build_app(REDIS_URL=through(port))
        listener = Thread(target=pubsub.listen, args=(distant, wake, listening, stopping))
        listener.start()
        try:
            # A request and its reply.
            wait_until(lambda: proxy.passed > 1)
            proxy.edits = lambda: (unchanged, unchanged)
            proxy.cut_once()
            wait_until(lambda: announced(app, heard))
        finally:
            stopping.set()
            listener.join(TIMEOUT_SECONDS)
        assert not listener.is_alive()


def announced(app: Flask, heard: list[str]) -> bool:
    """Whether an announcement has been heard; makes another one."""
    with app.app_context():
        pubsub.announce(["test.a"])
    return "['test.a']" in heard
