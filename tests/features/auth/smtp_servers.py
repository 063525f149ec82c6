"""SMTP servers for tests: one that works, one that aborts, one that hangs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class Inbox:
    """Accepts mail, after replying to the first ones with `answers`."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.received: list[Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answers:
            return self.answers.pop(0)
        self.received.append(message_from_bytes(envelope.content))
        return "250 OK"


class AbortingInbox(Inbox):
    """Accepts mail and closes the connection without a reply."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        answer = await super().handle_DATA(server, session, envelope)
        server.transport.abort()
        return answer


@contextmanager
def server(inbox: Inbox, **options: Any) -> Iterator[int]:
    """Run an SMTP server in a thread, with options of aiosmtpd; yields its port."""
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class HangingServer:
    """Accepts connections and sends `greeting` one byte at a time, then nothing, until it is released."""

    def __init__(self, greeting: bytes = b"", pause: float = 0.05) -> None:
        self.greeting = greeting
        self.pause = pause
        self.contacted = threading.Event()
        self.released = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._serve, args=(listener,))
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                self.released.set()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.contacted.set()
                with connection, suppress(OSError):
                    for byte in self.greeting:
                        connection.sendall(bytes([byte]))
                        self.released.wait(self.pause)
                    self.released.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
