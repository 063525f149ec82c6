"""A program of its own that asks one URL again and again: `load.py host port path token clients seconds [body]`.

With a body it sends PATCH requests; `{turn}` in it or in the path is another text each time, and `{7}` in the path
is 7 for the first client, 8 for the second and so on.

Prints one JSON object: the requests answered, the seconds that took, and the 50th and 95th percentile of the
milliseconds that each took. It speaks just enough HTTP over kept-alive sockets in one thread, because the time
that a client library takes is time that the server on the same machine does not get.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Client:
    """One connection with one request on its way at any time."""

    def __init__(self, address: tuple[str, int], question: Callable[[int], bytes]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._question = question
        self._turn = 0
        self._asked = 0.0
        self._answer = b""

    def ask(self) -> None:
        self._answer = b""
        self._turn += 1
        question = self._question(self._turn)
        self._asked = time.perf_counter()
        self.socket.sendall(question)

    def receive(self) -> float | None:
        """The seconds that the request took, once its answer is complete."""
        part = self.socket.recv(1 << 18)
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not part or (end and (length is None or not head.startswith(b"HTTP/1.1 200 "))):
            sys.exit(f"The server answered {self._answer[:500]!r}.")
        if not end or length is None or len(body) < int(length[1]):
            return None
        return time.perf_counter() - self._asked


def questions(head: str, path: str, body: str, client: int) -> Callable[[int], bytes]:
    """What a client sends in its n-th turn."""
    where = re.sub(r"\{(\d+)\}", lambda first: str(int(first[1]) + client), path)
    wanted = f"GET {where} HTTP/1.1\r\n{head}\r\n"
    begun = f"PATCH {where} HTTP/1.1\r\n{head}Content-Type: application/json\r\n"

    def question(turn: int) -> bytes:
        # A moment of its own makes it another text in the next burst too.
        other = f"{turn}-{time.time()}"
        if not body:
            return wanted.replace("{turn}", other).encode()
        content = body.replace("{turn}", other)
        return f"{begun}Content-Length: {len(content)}\r\n\r\n{content}".encode()

    return question


def main(host: str, port: str, path: str, token: str, clients: str, seconds: str, body: str = "") -> None:
    head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
    took: list[float] = []
    with selectors.DefaultSelector() as selector:
        for number in range(int(clients)):
            client = Client((host, int(port)), questions(head, path, body, number))
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask()
        began = now = time.perf_counter()
        until = began + float(seconds)
        while now < until:
            for key, _ in selector.select():
                answered = key.data.receive()
                if answered is not None:
                    took.append(answered)
                    key.data.ask()
            now = time.perf_counter()
    took.sort()
    p50, p95 = (1000 * took[int(len(took) * part)] for part in (0.5, 0.95))
    print(json.dumps({"requests": len(took), "seconds": now - began, "p50": p50, "p95": p95}))


if __name__ == "__main__":
    main(*sys.argv[1:])
