"""A load generator for one URL: `load.py host port path token clients seconds [body [method]]`.

With a body it sends PATCH requests, or those of another method. In path and body `{turn}` is replaced by another text
in each request, `{number}` by another number above a million, `{blank}` by another row of commas and blanks; and `{7}`
by 7 for the first client, 8 for the second and so on.

It prints one JSON object: the number of requests, the seconds, and the 50th and 95th percentile of the milliseconds per
request. It implements just enough HTTP over kept-alive sockets in one thread: the CPU time of a client library would be
taken from the server on the same machine.
"""

import json
import random
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable

_BLANKS = str.maketrans("01", "+,")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Client:
    """One connection with one request at a time."""

    def __init__(self, address: tuple[str, int], build_request: Callable[[int], bytes]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._build_request = build_request
        self._turn = 0
        self._sent_at = 0.0
        self._answer = b""

    def send(self) -> None:
        self._answer = b""
        self._turn += 1
        request = self._build_request(self._turn)
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """The duration of the request in seconds, or None while its answer is incomplete."""
        chunk = self.socket.recv(1 << 18)
        self._answer += chunk
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not chunk or (end and (length is None or not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")))):
            sys.exit(f"The server answered {self._answer[:500]!r}.")
        if not end or length is None or len(body) < int(length[1]):
            return None
        return time.perf_counter() - self._sent_at


def request_builder(head: str, path: str, body: str, client: int, method: str) -> Callable[[int], bytes]:
    """A function that builds the n-th request of a client."""
    first_number = random.randrange(10**6, 10**9)
    get = f"GET {path} HTTP/1.1\r\n{head}\r\n"
    write = f"{method} {path} HTTP/1.1\r\n{head}Content-Type: application/json\r\n"

    def build_request(turn: int) -> bytes:
        number = first_number + turn
        if not body:
            return vary(get, number, client).encode()
        content = vary(body, number, client)
        return f"{vary(write, number, client)}Content-Length: {len(content)}\r\n\r\n{content}".encode()

    return build_request


def vary(text: str, number: int, client: int = 0) -> str:
    """A path or body for one request of a client, with its placeholders replaced."""
    # With the time, so that the text is another one in the next burst too.
    text = text.replace("{turn}", f"{number}-{time.time()}").replace("{number}", str(number))
    text = text.replace("{blank}", f"{number:b}".translate(_BLANKS))
    return re.sub(r"\{(\d+)\}", lambda first: str(int(first[1]) + client), text)


def main(
    host: str, port: str, path: str, token: str, clients: str, seconds: str, body: str = "", method: str = "PATCH"
) -> None:
    head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
    durations: list[float] = []
    with selectors.DefaultSelector() as selector:
        for number in range(int(clients)):
            client = Client((host, int(port)), request_builder(head, path, body, number, method))
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        began = now = time.perf_counter()
        until = began + float(seconds)
        while now < until or not durations:
            for key, _ in selector.select():
                duration = key.data.receive()
                if duration is not None:
                    durations.append(duration)
                    key.data.send()
            now = time.perf_counter()
    durations.sort()
    p50, p95 = (1000 * durations[int(len(durations) * share)] for share in (0.5, 0.95))
    print(json.dumps({"requests": len(durations), "seconds": now - began, "p50": p50, "p95": p95}))


if __name__ == "__main__":
    main(*sys.argv[1:])
