"""Turns to work: a client that sends or reads slowly occupies a thread, but keeps no other request from working.

A thread of granian's WSGI interface waits for the body of a request, and for the reader of a streamed response, as long
as either takes. So the server has many threads, and few of them work at a time: more would only wait for each other.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

Environ = dict[str, Any]

BUFFER_BYTES = 2**20
"""A body up to here is received before its request has a turn; a larger one is read by the view."""


class Places:
    """A semaphore. Those of `threading` are written in Python, of fifteen calls for each request."""

    def __init__(self, number: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


class Turns:
    """A WSGI application that runs another one in at most `places` threads at a time.

    Requests with large bodies have half of the places. A response is sent after its turn has ended.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]], places: int) -> None:
        self._application = application
        self._places = Places(places)
        self._uploads = Places(max(1, places // 2))

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_received = receive(environ)
        with nullcontext() if is_received else self._uploads, self._places:
            return self._application(environ, start_response)


def receive(environ: Environ) -> bool:
    """Receive the body of a request, or the beginning of one that has no length; whether it is complete."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return True
    # The application refuses a length that is no number.
    if length is not None and (not length.isdecimal() or int(length) > BUFFER_BYTES):
        return False
    begin = stream.read(int(length) if length is not None else BUFFER_BYTES)
    is_complete = length is not None or len(begin) < BUFFER_BYTES
    environ["wsgi.input"] = io.BytesIO(begin) if is_complete else io.BufferedReader(_Continued(begin, stream))
    return is_complete


class _Continued(io.RawIOBase):
    """A body whose beginning has been received."""

    def __init__(self, begin: bytes, rest: Any) -> None:
        self._begin, self._rest = begin, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._begin[: len(buffer)] if self._begin else self._rest.read(len(buffer))
        self._begin = self._begin[len(part) :]
        buffer[: len(part)] = part
        return len(part)
