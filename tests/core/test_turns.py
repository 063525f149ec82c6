"""Requests have a turn once their body is there, and the application reads the same bytes as from the server."""

import io
from threading import Event, Thread
from typing import Any

import pytest

from app.core.http.limits.turns import BUFFER_BYTES, Turns, receive
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = any_database

SIZES = (0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES)


def environ_of(body: bytes, *, chunked: bool) -> dict[str, Any]:
    length = {"HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {"CONTENT_LENGTH": str(len(body))}
    return {"wsgi.input": io.BytesIO(body), **length}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_application_reads_every_byte(size: int, *, chunked: bool) -> None:
    body = bytes(at % 251 for at in range(size))
    environ = environ_of(body, chunked=chunked)
    assert receive(environ) == (size <= BUFFER_BYTES and not (chunked and size == BUFFER_BYTES))
    assert environ["wsgi.input"].read() == body


def test_nothing_is_read_where_there_is_no_body() -> None:
    class Blocking:
        def read(self, _size: int) -> bytes:
            pytest.fail("A thread would wait for a body that never comes.")

    assert receive({"wsgi.input": Blocking()})
    assert not receive({"wsgi.input": Blocking(), "CONTENT_LENGTH": "many"})
    assert not receive({"wsgi.input": Blocking(), "CONTENT_LENGTH": str(BUFFER_BYTES + 1)})


def test_who_waits_for_a_body_has_no_place() -> None:
    arrived = Event()

    class Arriving:
        def read(self, _size: int) -> bytes:
            assert arrived.wait(TIMEOUT_SECONDS)
            return b"{}"

    answered: list[str] = []

    def application(environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        answered.append(environ["PATH_INFO"])
        return []

    turns = Turns(application, places=1)
    slow = {"PATH_INFO": "slow", "CONTENT_LENGTH": "2", "wsgi.input": Arriving()}
    waiting = Thread(target=turns, args=(slow, None))
    waiting.start()
    turns({"PATH_INFO": "quick", "wsgi.input": io.BytesIO()}, lambda *_: None)
    assert answered == ["quick"]
    arrived.set()
    wait_until(lambda: answered == ["quick", "slow"])
    waiting.join(TIMEOUT_SECONDS)


def test_large_bodies_leave_half_of_the_places() -> None:
    done = Event()

    def application(environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        inside.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "upload":
            assert done.wait(TIMEOUT_SECONDS)
        return []

    inside: list[str] = []
    turns = Turns(application, places=2)
    large = {"PATH_INFO": "upload", "CONTENT_LENGTH": str(2 * BUFFER_BYTES), "wsgi.input": io.BytesIO()}
    uploads = [Thread(target=turns, args=(dict(large), None)) for _ in range(3)]
    for upload in uploads:
        upload.start()
    wait_until(lambda: inside == ["upload"])
    turns({"PATH_INFO": "quick", "wsgi.input": io.BytesIO()}, lambda *_: None)
    assert inside == ["upload", "quick"]
    done.set()
    for upload in uploads:
        upload.join(TIMEOUT_SECONDS)
    assert inside == ["upload", "quick", "upload", "upload"]
