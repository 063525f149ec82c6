"""Ends to waiting: a socket that drips may take no longer than all of an exchange may."""

import io
import socket
import time
from dataclasses import dataclass
from typing import Any

AT_ONCE = 64 * 1024
"""Bytes that are sent or read in one go."""


@dataclass(frozen=True, slots=True)
class Clock:
    """When everything must be over, in monotonic seconds."""

    end: float
    seconds: float

    @property
    def left(self) -> float:
        """Seconds that are left, never none: a timeout of 0 would mean not to block."""
        return max(self.end - time.monotonic(), 0.001)

    @property
    def is_up(self) -> bool:
        return time.monotonic() >= self.end

    def first(self, seconds: float) -> "Clock":
        """A clock for what comes first: it has `seconds`, but no more than there are."""
        return Clock(min(self.end, time.monotonic() + seconds), min(self.seconds, seconds))


@dataclass(slots=True)
class TimedSocket:
    """A connected socket whose every wait ends with the clock.

    A timeout alone begins anew with every byte, so that a server which drips has as much time as it likes.
    """

    wire: socket.socket
    clock: Clock

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._wait_no_longer()
            view = view[self.wire.send(view[:AT_ONCE]) :]

    def recv_into(self, buffer: Any) -> int:
        self._wait_no_longer()
        return self.wire.recv_into(buffer)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Received(self))

    def settimeout(self, _seconds: float | None) -> None:
        """Nothing: the clock decides."""

    def close(self) -> None:
        """Nothing: whoever has wrapped it does, once an answer that ends with the connection has been read."""

    def _wait_no_longer(self) -> None:
        if self.clock.is_up:
            raise TimeoutError
        self.wire.settimeout(self.clock.left)


class _Received(io.RawIOBase):
    """What comes in through a timed socket, as a file."""

    def __init__(self, source: TimedSocket) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.recv_into(buffer)
