"""A WSGI application for an ASGI server, whose threads wait for no client.

A thread gets a request whose body has arrived, and makes the response without waiting for its reader. Otherwise eight
connections that never send the rest of a body would occupy all threads of a process. Larger bodies are read while they
arrive, by half of the threads at most.
"""

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

from app.core.errors import BadRequest
from app.core.messages import tr

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Environ = dict[str, Any]

BUFFER_BYTES = 2**20
"""A body up to here is received before a thread is taken; a response beyond it waits in a file for its reader."""
CHUNK_BYTES = 2**18
BODY_SECONDS = 20.0
"""How long the first BUFFER_BYTES of a body may take."""
CHUNK_SECONDS = 10.0
"""How long a client may send nothing of a larger body, or read nothing of a larger response."""
_ENVIRON: Environ = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    # A body in chunks, which has no length, ends.
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


class Gone(ConnectionError):
    """The client has closed the connection."""


class BodyTimeout(BadRequest):
    message = tr("The body of the request has not arrived in time.")


class Bridge:
    """The ASGI application; to be made in the process that serves."""

    def __init__(self, application: Any, threads: int) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._uploads = asyncio.Semaphore(max(1, threads // 2))

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        environ = environ_of(scope)
        if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
            await self._answer(environ, io.BytesIO(), send)
            return
        body = Body(receive)
        try:
            await body.receive_begin()
        except Gone:
            return
        except TimeoutError:
            await self._answer(environ, LateInput(), send)
            return
        if body.is_complete:
            await self._answer(environ, io.BytesIO(body.begin), send)
            return
        async with self._uploads:
            arriving = io.BufferedReader(ArrivingInput(body, asyncio.get_running_loop()), CHUNK_BYTES)
            await self._answer(environ, arriving, send)

    async def _answer(self, environ: Environ, body: Any, send: Send) -> None:
        environ["wsgi.input"] = body
        response = Response(asyncio.get_running_loop())
        self._threads.submit(response.make, self._application, environ)
        await response.is_further.wait()
        start = {"type": "http.response.start", "status": response.status, "headers": response.headers}
        if not response.is_large:
            response.require_success()
            await send(start)
            await send({"type": "http.response.body", "body": b"".join(response.begin)})
            return
        try:
            await send(start)
            await self._send_large(response, send)
        finally:
            response.abandon()

    async def _send_large(self, response: "Response", send: Send) -> None:
        """Send a response while it is made; raises TimeoutError where the client does not read on."""
        is_complete = False
        while not is_complete:
            response.is_further.clear()
            is_complete = response.is_complete
            while part := response.read():
                async with asyncio.timeout(CHUNK_SECONDS):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            if not is_complete:
                await response.is_further.wait()
        # Without its end, no client takes a part for the whole.
        response.require_success()
        await send({"type": "http.response.body", "body": b""})


class Body:
    """The body of a request, as it arrives."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.begin = b""
        self.is_complete = False

    async def receive_begin(self) -> None:
        """Receive BUFFER_BYTES of it, or all; raises TimeoutError and Gone."""
        async with asyncio.timeout(BODY_SECONDS):
            while not self.is_complete and len(self.begin) < BUFFER_BYTES:
                self.begin += await self._next()

    async def next_part(self) -> bytes:
        """The next bytes, none at the end; raises TimeoutError and Gone."""
        async with asyncio.timeout(CHUNK_SECONDS):
            part = b""
            while not part and not self.is_complete:
                part = await self._next()
            return part

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        self.is_complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


class ArrivingInput(io.RawIOBase):
    """A large body, which a thread reads."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body, self._loop = body, loop
        self._part = body.begin

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, at least in part; raises BodyTimeout and Gone."""
        if not self._part:
            try:
                self._part = asyncio.run_coroutine_threadsafe(self._body.next_part(), self._loop).result()
            except TimeoutError:
                raise BodyTimeout from None
        size = min(len(buffer), len(self._part))
        buffer[:size], self._part = self._part[:size], self._part[size:]
        return size


class LateInput(io.RawIOBase):
    """A body that has not arrived in time; who reads it learns that."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise BodyTimeout


class Response:
    """What the application answers: made by a thread as fast as it can, sent as fast as the client reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.is_further = asyncio.Event()
        """There is something new: the end, or more of a large response."""
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.begin: list[bytes] = []
        self.is_complete = False
        self._error: BaseException | None = None
        self._made = self._announced = self._sent = 0
        self._file: BinaryIO | None = None
        """A large response."""
        self._is_abandoned = False
        self._lock = Lock()

    @property
    def is_large(self) -> bool:
        return self._file is not None

    def make(self, application: Any, environ: Environ) -> None:
        """Run the application, in a thread."""
        try:
            parts = application(environ, self._start)
            try:
                for part in parts:
                    if not self._keep(part):
                        break
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except BaseException as error:  # noqa: BLE001 - the coroutine raises it
            self._error = error
        with self._lock:
            self.is_complete = True
            if self._is_abandoned and self._file is not None:
                self._file.close()
        self._announce()

    def require_success(self) -> None:
        """Raise what the application has raised."""
        if self._error is not None:
            raise self._error

    def read(self) -> bytes:
        """The next part of a large response that has been made and not been sent."""
        assert self._file is not None
        part = os.pread(self._file.fileno(), min(CHUNK_BYTES, self._made - self._sent), self._sent)
        self._sent += len(part)
        return part

    def abandon(self) -> None:
        """Make no more of it, and let its file go."""
        with self._lock:
            self._is_abandoned = True
            if self.is_complete and self._file is not None:
                self._file.close()

    def _keep(self, part: bytes) -> bool:
        """Keep a part until it is sent; False where nobody waits for it any more."""
        if self._file is None:
            self.begin.append(part)
            self._made += len(part)
            if self._made > BUFFER_BYTES:
                # Its name goes at once, and the file with its descriptor.
                file = cast(BinaryIO, TemporaryFile(buffering=0))  # noqa: SIM115 - closed by whoever ends last
                _write_all(file, b"".join(self.begin))
                self._file = file
        else:
            _write_all(self._file, part)
            self._made += len(part)
        if self._file is not None and self._made - self._announced >= CHUNK_BYTES:
            self._announce()
        return not self._is_abandoned

    def _announce(self) -> None:
        self._announced = self._made
        self._loop.call_soon_threadsafe(self.is_further.set)

    def _start(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[[bytes], None]:
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return _write


def _write_all(file: BinaryIO, part: bytes) -> None:
    # A file without a buffer may take a part of it, such as on a disk that is nearly full.
    left = memoryview(part)
    while left:
        left = left[file.write(left) :]


def _write(_part: bytes) -> None:
    raise NotImplementedError("Flask returns the parts of a response.")


def environ_of(scope: Mapping[str, Any]) -> Environ:
    """The WSGI environment of a request, without its body."""
    server = scope["server"] or ("", 0)
    environ: Environ = {
        **_ENVIRON,
        "REQUEST_METHOD": scope["method"],
        # WSGI's texts are bytes, decoded as Latin-1.
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.url_scheme": scope["scheme"],
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            # It would be taken for the header with hyphens, which a proxy has set.
            continue
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = f"HTTP_{name}"
        # As servers hand it over that pass on ASCII only (header_text.py).
        value = raw_value.decode("ascii") if raw_value.isascii() else ""
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ
