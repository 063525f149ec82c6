"""Deadlines of a whole exchange, and a socket that keeps one.

A socket's own timeout starts again with every byte, so a server that sends slowly could take forever.
"""

import io
import socket
import time
from dataclasses import dataclass
from typing import Any

SEND_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time, and the seconds that it was set for."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds, seconds)

    @property
    def remaining(self) -> float:
        """Seconds; never 0, because a timeout of 0 makes a socket non-blocking."""
        return max(self.at - time.monotonic(), 0.001)

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self.at

    def within(self, seconds: float) -> "Deadline":
        """The deadline of a first step that takes `seconds` at most."""
        return Deadline(min(self.at, time.monotonic() + seconds), min(self.seconds, seconds))


@dataclass(slots=True)
class DeadlineSocket:
    """The part of a connected socket that http.client uses; every wait ends at the deadline with TimeoutError."""

    wire: socket.socket
    deadline: Deadline
    has_reader: bool = False

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._set_timeout()
            view = view[self.wire.send(view[:SEND_BYTES]) :]

    def recv_into(self, buffer: Any) -> int:
        self._set_timeout()
        return self.wire.recv_into(buffer)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        self.has_reader = True
        return io.BufferedReader(_Reader(self))

    def settimeout(self, _seconds: float | None) -> None:
        """Do nothing: the deadline decides."""

    def close(self) -> None:
        # As with a real socket, the connection stays open until its reader is closed, too: http.client closes the
        # socket before it reads a response that ends with the connection.
        if not self.has_reader:
            self.wire.close()

    def _set_timeout(self) -> None:
        if self.deadline.has_passed:
            raise TimeoutError
        self.wire.settimeout(self.deadline.remaining)


class _Reader(io.RawIOBase):
    def __init__(self, source: DeadlineSocket) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.recv_into(buffer)

    def close(self) -> None:
        self._source.wire.close()
        super().close()
