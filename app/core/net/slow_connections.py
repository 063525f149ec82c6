"""Ends connections of clients that send or read too slowly, which would occupy threads for as long as they like.

The server has limits of time for the head of a request and for an idle connection, and none for a body or a response.
Its threads cannot be interrupted, nor do they know their socket. So a thread looks at all connections from time to
time, as the kernel counts their bytes, and shuts those down that move too little: the server then reads an end.
"""

import fcntl
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

LEAST_BYTES = 512 * 1024
"""What a client that should send or read has to move within the limit of time, which is a minute: 70 kbit/s."""
SCANS = 6
"""How many times within the limit the connections are looked at."""

_BYTES_OFFSET = 120
"""Of `tcpi_bytes_acked` and `tcpi_bytes_received` in the kernel's struct tcp_info, since Linux 4.1."""
_ESTABLISHED = 1
_SIOCOUTQ = 0x5411


@dataclass(slots=True)
class ConnectionProgress:
    """The bytes of a connection when it last did well, and since how many scans it has not."""

    sent: int
    received: int
    scans: int = 0


class SlowConnections:
    """Looks after the connections to one port of this process."""

    def __init__(self, port: int, seconds: int) -> None:
        self._port, self._seconds = port, seconds
        self._progress: dict[int, ConnectionProgress] = {}

    def start(self) -> None:
        """Begin in a thread of its own, where the kernel counts: on Linux."""
        if sys.platform == "linux":
            threading.Thread(target=self._run, name="slow-connections", daemon=True).start()

    def _run(self) -> None:
        never = threading.Event()
        while not never.wait(self._seconds / SCANS):
            self.scan()

    def scan(self) -> None:
        """Look at all connections, and shut down those that have been slow for the whole time."""
        before, self._progress = self._progress, {}
        for connection in _connections(self._port):
            with connection, suppress(OSError):
                information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                if information[0] != _ESTABLISHED:
                    continue
                sent, received = struct.unpack_from("=QQ", information, _BYTES_OFFSET)
                (unread,) = struct.unpack("i", fcntl.ioctl(connection, _SIOCOUTQ, bytes(4)))
                number = os.fstat(connection.fileno()).st_ino
                progress = before.get(number) or ConnectionProgress(sent, received)
                # A response that is read well, or a whole request and its answer.
                is_read = sent - progress.sent >= (LEAST_BYTES if unread else 1)
                if is_read or received - progress.received >= LEAST_BYTES:
                    progress = ConnectionProgress(sent, received)
                elif progress.scans >= SCANS:
                    connection.shutdown(socket.SHUT_RDWR)
                    log.info("slow_connection_closed", sent=sent, received=received, unread=unread)
                else:
                    progress.scans += 1
                self._progress[number] = progress


def _connections(port: int) -> Iterator[socket.socket]:
    """The connections of this process to a port of its own, as duplicates, so that none is reused meanwhile."""
    for path in Path("/proc/self/fd").iterdir():
        # It may have been closed since it was listed.
        with suppress(OSError):
            if not path.is_socket():
                continue
            duplicate = os.dup(int(path.name))
            try:
                connection = socket.socket(fileno=duplicate)
            except OSError:
                os.close(duplicate)
                continue
            if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getsockname()[1] == port:
                yield connection
            else:
                connection.close()
