"""The bridge from ASGI to WSGI: threads wait neither for the body of a request nor for the reader of a response."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest
from flask import Flask

from app.core import asgi
from app.core.asgi import Bridge, environ_of
from tests.client import check_envelope
from tests.threads import TIMEOUT_SECONDS

Message = dict[str, Any]


def scope(
    method: str = "GET",
    path: bytes = b"/api/health",
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    query: bytes = b"",
) -> Message:
    return {
        "type": "http",
        "method": method,
        "raw_path": path,
        "query_string": query,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("192.0.2.1", 4711),
        "headers": list(headers),
    }


def sends(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """A client that sends these, and then nothing."""
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    return receive


class Reader:
    """A client that reads once it is released."""

    def __init__(self, *, is_released: bool = True) -> None:
        self.messages: list[Message] = []
        self.released = asyncio.Event()
        if is_released:
            self.released.set()

    async def send(self, message: Message) -> None:
        # Others have their turn, as between two packets.
        await asyncio.sleep(0)
        await self.released.wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


def run(conversation: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await conversation

    return asyncio.run(limited())


def part(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


CREDENTIALS = orjson.dumps({"username": "nobody", "password": "nothing"})
LOGIN = scope("POST", b"/api/auth/login", [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize("buffer_bytes", [1, 2**20])
def test_a_body_may_arrive_in_parts(app: Flask, buffer_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BUFFER_BYTES", buffer_bytes)
    reader = Reader()
    parts = [part(bytes([byte])) for byte in CREDENTIALS]
    run(Bridge(app, 1)(LOGIN, sends(*parts, part(b"", more=False)), reader.send))
    assert (reader.messages[0]["status"], orjson.loads(reader.body)["data"]["reason"]) == (401, "wrong_credentials")


@pytest.mark.parametrize("buffer_bytes", [1, 2**20])
def test_a_body_that_does_not_arrive(app: Flask, buffer_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BUFFER_BYTES", buffer_bytes)
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(asgi, "CHUNK_SECONDS", 0.05)
    reader = Reader()
    run(Bridge(app, 1)(LOGIN, sends(part(b'{"username":')), reader.send))
    assert reader.messages[0]["status"] == 400
    check_envelope(orjson.loads(reader.body), 400)
    assert "in time" in orjson.loads(reader.body)["message"]


def test_a_client_that_goes_away(app: Flask) -> None:
    reader = Reader()
    run(Bridge(app, 1)(LOGIN, sends(part(b'{"username":'), {"type": "http.disconnect"}), reader.send))
    assert reader.messages == []


class Streaming:
    """A WSGI application whose response has many parts, and perhaps an error after them."""

    def __init__(self, parts: int, *, error: bool = False) -> None:
        self.parts = parts
        self.error = error
        self.made = 0
        self.closed = threading.Event()

    def __call__(self, _environ: Message, start: Any) -> "Streaming":
        start("200 OK", [("X-Name", "\xe9")])
        return self

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.parts):
            self.made += 1
            yield bytes([number % 256]) * (asgi.BUFFER_BYTES // 2)
        if self.error:
            raise ZeroDivisionError

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BUFFER_BYTES", 1000)
    monkeypatch.setattr(asgi, "CHUNK_BYTES", 300)


@pytest.mark.usefixtures("small_buffers")
def test_a_large_response_is_made_without_its_reader(app: Flask) -> None:
    streaming = Streaming(9)

    def either(environ: Message, start: Any) -> Iterable[bytes]:
        return streaming(environ, start) if environ["PATH_INFO"] == "/stream" else app(environ, start)

    async def converse() -> tuple[Reader, Reader]:
        bridge = Bridge(either, 1)
        slow, fast = Reader(is_released=False), Reader()
        task = asyncio.create_task(bridge(scope(path=b"/stream"), sends(), slow.send))
        await asyncio.to_thread(streaming.closed.wait, TIMEOUT_SECONDS)
        # The only thread is free again, though nobody has read anything.
        await bridge(scope(), sends(), fast.send)
        assert slow.messages == []
        slow.released.set()
        await task
        return slow, fast

    slow, fast = run(converse())
    assert orjson.loads(fast.body)["data"] == {"status": "ok"}
    assert slow.messages[0]["headers"] == [(b"x-name", b"\xe9")]
    assert slow.body == b"".join(bytes([number]) * 500 for number in range(9))
    assert "more_body" not in slow.messages[-1]


@pytest.mark.usefixtures("small_buffers")
def test_who_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "CHUNK_SECONDS", 0.05)
    streaming = Streaming(100_000)

    async def converse() -> None:
        reader = Reader()
        task = asyncio.create_task(Bridge(streaming, 1)(scope(), sends(), reader.send))
        while len(reader.messages) < 3:
            await asyncio.sleep(0)
        reader.released.clear()
        with pytest.raises(TimeoutError):
            await task
        assert await asyncio.to_thread(streaming.closed.wait, TIMEOUT_SECONDS)

    run(converse())
    assert streaming.made <= streaming.parts


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("parts", [0, 9])
def test_an_error_within_a_response_breaks_it_off(parts: int) -> None:
    """A client must not take a part for the whole."""
    streaming, reader = Streaming(parts, error=True), Reader()
    with pytest.raises(ZeroDivisionError):
        run(Bridge(streaming, 1)(scope(), sends(), reader.send))
    assert streaming.closed.is_set()
    assert len(reader.body) == 500 * parts
    assert all(message.get("more_body") for message in reader.messages[1:])


def test_the_environment_of_a_request() -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-forwarded-for", b"203.0.113.1"),
        (b"x_forwarded_for", b"127.0.0.1"),
        (b"x-name", "é".encode()),
        (b"accept", b"a"),
        (b"accept", b"b"),
    ]
    environ = environ_of(scope("PUT", b"/api/%e4%b8%8a%ff", headers, query=b"a=%ff"))
    assert environ["PATH_INFO"].encode("latin-1") == "/api/上".encode() + b"\xff"
    assert environ["QUERY_STRING"] == "a=%ff"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    sent = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
    assert sent == {
        "CONTENT_TYPE": "text/plain",
        "HTTP_X_FORWARDED_FOR": "203.0.113.1",
        "HTTP_X_NAME": "",
        "HTTP_ACCEPT": "a,b",
    }
