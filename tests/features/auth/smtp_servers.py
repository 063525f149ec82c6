"""Mail servers that behave, and some that do not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class Inbox:
    """Takes mail, after refusing as often as `answers` says so."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.received: list[Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answers:
            return self.answers.pop(0)
        self.received.append(message_from_bytes(envelope.content))
        return "250 OK"


class Forgetful(Inbox):
    """Takes mail and hangs up without a word."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        answer = await super().handle_DATA(server, session, envelope)
        server.transport.abort()
        return answer


@contextmanager
def server(inbox: Inbox, **options: Any) -> Iterator[int]:
    """A real server in a thread of its own, with these options of aiosmtpd; answers its port."""
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class Stubborn:
    """Accepts connections and says `greeting` one character at a time, then nothing, until it is released."""

    def __init__(self, greeting: bytes = b"", pause: float = 0.05) -> None:
        self.greeting = greeting
        self.pause = pause
        self.met = threading.Event()
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
                self.met.set()
                with connection, suppress(OSError):
                    for byte in self.greeting:
                        connection.sendall(bytes([byte]))
                        self.released.wait(self.pause)
                    self.released.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
