"""Clients that read, write, log in, assign GPUs and import at a given rate, and remember what was acknowledged."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from tests.client import PASSWORD

Json = Any

TIMEOUT_SECONDS = 30.0
IMPORTED_ROWS = 10
RETRY_SECONDS = 0.2
"""Before a creation is sent again that was not acknowledged."""


class Answer(NamedTuple):
    """What became of one request; the status is 0 where the connection was lost."""

    kind: str
    status: int
    ended_at: float
    """Seconds since the traffic began."""
    seconds: float
    """Until it was answered."""
    late: float
    """How much later it was sent than the schedule says: earlier ones took so long."""


class Change(NamedTuple):
    path: str
    version: int
    description: str


@dataclass
class Ledger:
    """What was acknowledged; lists and dictionaries, because their `append` and assignment need no lock."""

    created: dict[str, str] = field(default_factory=dict)
    """The path of each created asset by its name."""
    changed: list[Change] = field(default_factory=list)
    deleted: dict[str, bool] = field(default_factory=dict)
    """By path: whether the deletion was acknowledged; else it may have taken place."""
    assigned: list[tuple[int, int]] = field(default_factory=list)
    """A GPU and its user."""
    imported: dict[int, str] = field(default_factory=dict)
    """The prefix of the names in each import that was accepted."""


class Account(NamedTuple):
    username: str
    user_id: int


@dataclass
class Estate:
    """What there is to work with."""

    accounts: Sequence[Account]
    servers: Sequence[int]
    gpus: Sequence[int]


class Traffic:
    """Sends requests to a port of this machine until it is stopped."""

    def __init__(self, port: int, estate: Estate, *, rate: float, clients: int, seed: int = 1) -> None:
        self.ledger = Ledger()
        self.answers: list[Answer] = []
        self.began = time.monotonic()
        self._interval = 1 / rate
        self._turns = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.users = [User(self, port, estate, number, Random(seed * 1000 + number)) for number in range(clients)]
        self._threads = [threading.Thread(target=user.run) for user in self.users]

    def start(self) -> None:
        """Log everybody in, and begin: a server that is cold would owe all requests of its first second."""
        for user in self.users:
            user.log_in()
        self.answers.clear()
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End when each client has got the answer of its last request, or has given up creating."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def next_turn(self) -> float | None:
        """Wait until the next request is due; the moment that it was due, or None at the end."""
        with self._lock:
            due = self.began + self._turns * self._interval
            self._turns += 1
        if self._stopping.wait(max(0.0, due - time.monotonic())):
            return None
        return due

    def statuses(self, kind: str | None = None) -> dict[int, int]:
        counts: dict[int, int] = {}
        for answer in tuple(self.answers):
            if kind in (None, answer.kind):
                counts[answer.status] = counts.get(answer.status, 0) + 1
        return counts


class User:
    """One client with a connection of its own."""

    def __init__(self, traffic: Traffic, port: int, estate: Estate, number: int, rng: Random) -> None:
        self._traffic, self._port, self._estate, self._rng = traffic, port, estate, rng
        self._account = estate.accounts[number % len(estate.accounts)]
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""
        self._due = 0.0
        # Each action is tried, whatever the dice say.
        self._first = [list(ACTIONS)[number % len(ACTIONS)]]
        self._own: list[str] = []
        """The paths of the assets that it has created and not deleted."""

    def run(self) -> None:
        while (due := self._traffic.next_turn()) is not None:
            self._due = due
            if not self._token:
                self.log_in()
                continue
            (act,) = self._first or self._rng.choices(list(ACTIONS), list(ACTIONS.values()))
            self._first = []
            act(self)
        if self._connection is not None:
            self._connection.close()

    def log_in(self) -> None:
        status, body = self.send("login", "POST", "/api/auth/login", self._credentials())
        self._token = body["data"]["access_token"] if status == 200 else ""

    def _credentials(self) -> Json:
        return {"username": self._account.username, "password": PASSWORD}

    def log_in_again(self) -> None:
        self.send("login", "POST", "/api/auth/login", self._credentials())

    def read_list(self) -> None:
        self.send("list", "GET", self._rng.choice(LISTS))

    def read_object(self) -> None:
        self.send("object", "GET", f"/api/servers/{self._rng.choice(self._estate.servers)}")

    def search(self) -> None:
        self.send("search", "GET", f"/api/search?q={self._rng.choice(('node', 'H100', 'monitor', '10.0', 'zz'))}")

    def look_around(self) -> None:
        self.send("overview", "GET", self._rng.choice(OVERVIEWS))

    def change(self) -> None:
        """Change a server, some of the time only the version that was read."""
        path = f"/api/servers/{self._rng.choice(self._estate.servers)}"
        description = uuid.uuid4().hex
        headers = {}
        if self._rng.random() < 0.5:
            status, body = self.send("object", "GET", path)
            if status != 200:
                return
            headers["If-Match"] = f'"{body["data"]["version"]}"'
        status, body = self.send("change", "PATCH", path, {"description": description}, headers)
        if status == 200:
            self._traffic.ledger.changed.append(Change(path, body["data"]["version"], description))

    def create(self) -> None:
        """Create an asset, and send it again with its key until that is acknowledged, as a careful client does."""
        name = f"asset-{uuid.uuid4().hex}"
        asset = {"name": name, "asset_type": "monitor"}
        key = {"Idempotency-Key": name}
        status, body = self.send("create", "POST", "/api/assets", asset, key)
        while status != 201 and not self._traffic.is_stopping:
            time.sleep(RETRY_SECONDS)
            if not self._token:
                self.log_in()
            status, body = self.send("create", "POST", "/api/assets", asset, key)
        if status == 201:
            path = f"/api/assets/{body['data']['id']}"
            self._traffic.ledger.created[name] = path
            self._own.append(path)

    def delete(self) -> None:
        if not self._own:
            return
        path = self._own.pop(0)
        self._traffic.ledger.deleted[path] = False
        status, _ = self.send("delete", "DELETE", path)
        self._traffic.ledger.deleted[path] = status == 200

    def use_gpu(self) -> None:
        """Take a GPU that others want too, or give one back."""
        gpu = self._rng.choice(self._estate.gpus)
        if self._rng.random() < 0.5:
            self.send("release", "POST", f"/api/gpus/{gpu}/release")
            return
        user = self._rng.choice(self._estate.accounts).user_id
        status, _ = self.send("assign", "POST", f"/api/gpus/{gpu}/assign", {"user_id": user})
        if status == 200:
            self._traffic.ledger.assigned.append((gpu, user))

    def upload(self) -> None:
        prefix = f"imported-{uuid.uuid4().hex[:12]}"
        rows = "".join(f"{prefix}-{number},laptop\n" for number in range(IMPORTED_ROWS))
        form = (
            '--limit\r\nContent-Disposition: form-data; name="apply"\r\n\r\ntrue\r\n'
            '--limit\r\nContent-Disposition: form-data; name="file"; filename="assets.csv"\r\n'
            f"Content-Type: text/csv\r\n\r\nName,Asset Type\n{rows}\r\n--limit--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=limit"}
        status, body = self.send("import", "POST", "/api/imports", form, headers)
        if status == 202:
            self._traffic.ledger.imported[body["data"]["id"]] = prefix

    def send(
        self, kind: str, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """The status and the body of the answer; status 0 where the connection was lost."""
        content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        own = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        typed = {} if content is None else {"Content-Type": "application/json"}
        status, answered, began = 0, None, time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
            self._connection.request(method, path, content, {**own, **typed, **(headers or {})})
            response = self._connection.getresponse()
            status, answered = response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            with suppress(OSError):
                if self._connection is not None:
                    self._connection.close()
            self._connection = None
        if status == 401:
            self._token = ""
        now = time.monotonic()
        self._traffic.answers.append(Answer(kind, status, now - self._traffic.began, now - began, began - self._due))
        # What follows within the same action is due at once.
        self._due = now
        return status, answered


LISTS = (
    "/api/servers?status=active&sort=name",
    "/api/servers?q=node&page=2&page_size=10",
    "/api/servers?memory_gb__gte=64&sort=-created_at",
    "/api/gpus?status=available",
    "/api/assets?sort=-created_at&page_size=50",
    "/api/containers?fields=id,name,status",
    "/api/servers/tree?level=3&page_size=10",
)
OVERVIEWS = ("/api/dashboard", "/api/events?after=", "/api/gpus/available?count=2", "/api/audit-logs?page_size=20")
ACTIONS: Mapping[Callable[[User], None], float] = {
    User.read_list: 50,
    User.read_object: 18,
    User.search: 4,
    User.look_around: 4,
    User.change: 12,
    User.create: 6,
    User.delete: 2,
    User.use_gpu: 4,
    User.log_in_again: 0.2,
    User.upload: 0.2,
}
"""What a client does, by how often."""
EXPECTED: Mapping[str, set[int]] = {
    "login": {200},
    "list": {200},
    "object": {200},
    "search": {200},
    "overview": {200},
    "change": {200, 412},
    "create": {201},
    "delete": {200},
    "assign": {200, 409},
    "release": {200, 409},
    "import": {202},
}
"""The statuses of each kind of request while nothing is wrong."""
