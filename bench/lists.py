"""A page of a list over HTTP, compared with a bare WSGI function that returns the same rows.

The platform verifies the token, looks up session and user, parses the parameters and counts. It caches a page until one
of its tables changes, so uncached pages are measured too. All run on the same server with the same number of threads;
one client and eight clients send requests in short, interleaved bursts.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import redis

from app.core.db.unit_of_work import db
from app.resource.projection import projection_of
from app.servers.routes import resource
from bench.bare import BareQuery
from bench.fleet import Fleet
from bench.imports import log_in, upload
from bench.scratch import PASSWORD, USERNAME, Scratch, plain, scratch
from config import ROOT
from run import PLACES

SERVERS = 1_500
PAGE_SIZE = 20
START_SECONDS = 60
ROUNDS = 5
BURST_SECONDS = 1.5
CLIENTS = (1, 8)
AIM = 0.4
"""The share of the bare function's throughput that the platform should reach."""

PATH = f"{resource.path}?page_size={PAGE_SIZE}"
UNCACHED = f"{PATH}&name__ne={{turn}}"
"""The same rows with another filter in each request: neither the page nor the total is cached."""
LOAD = Path(__file__).with_name("load.py")


@dataclass(frozen=True)
class Service:
    """A server under load: its name in the table, its port, the token and the path of the requests."""

    name: str
    port: int
    token: str = ""
    path: str = PATH

    def fetch(self, path: str, body: Any = None) -> Any:
        """The JSON of an answer; raises OSError."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def wait_for(self, path: str) -> None:
        """Return once the server answers; exit if it does not within START_SECONDS."""
        for _ in range(START_SECONDS * 20):
            try:
                self.fetch(path)
            except OSError:
                time.sleep(0.05)
            else:
                return
        sys.exit(f"{self.name} did not start.")


@dataclass(frozen=True)
class Burst:
    """Requests per second, and percentiles in milliseconds."""

    rate: float
    p50: float
    p95: float


Results = dict[tuple[int, str], list[Burst]]


def run(rounds: int = ROUNDS, seconds: float = BURST_SECONDS) -> None:
    """Print the medians of some rounds."""
    with ExitStack() as stack:
        database = stack.enter_context(scratch())
        fill(database)
        secret = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}
        shared = {"DATABASE_URL": database.url.render_as_string(hide_password=False), **secret}
        services = [stack.enter_context(bare(database))]
        if cache := stack.enter_context(empty_redis()):
            services.append(stack.enter_context(platform("ours", {**shared, "REDIS_URL": cache})))
        services.append(stack.enter_context(platform("ours, no Redis", {**shared, "REDIS_URL": ""})))
        services.insert(2, replace(services[1], name="ours, uncached", path=UNCACHED))
        answers = [service.fetch(service.path) for service in services]
        if any(answer != answers[0] for answer in answers):
            sys.exit("The platform and the bare function return different answers.")
        results: Results = {(clients, service.name): [] for clients in CLIENTS for service in services}
        for service in services:
            load(service, max(CLIENTS), 1.0, service.path)
        for _ in range(rounds):
            for clients in CLIENTS:
                for service in services:
                    results[clients, service.name].append(load(service, clients, seconds, service.path))
    show(results, rounds)


def show(results: Results, rounds: int) -> None:
    print(f"lists: GET {PATH} of {SERVERS:,} on PostgreSQL, medians of {rounds} interleaved rounds")
    print(f"  {'clients':8} {'':20} {'requests/s':>10} {'p50 ms':>8} {'p95 ms':>8} {'of bare':>8}")
    for (clients, name), bursts in results.items():
        rate, p50, p95 = (median(getattr(burst, figure) for burst in bursts) for figure in ("rate", "p50", "p95"))
        limit = results[clients, "bare"]
        share = median(ours.rate / bare.rate for ours, bare in zip(bursts, limit, strict=True))
        print(f"  {clients:<8} {name:20} {rate:10,.0f} {p50:8.2f} {p95:8.2f} {share:8.0%}")
    print(f"  aim: at least {AIM:.0%} of the bare function")


def load(service: Service, clients: int, seconds: float, path: str = PATH, body: str = "") -> Burst:
    """Send requests from a process of its own; see `load.py` for path and body."""
    target = ("127.0.0.1", str(service.port), path, service.token)
    command = [sys.executable, "-I", str(LOAD), *target, str(clients), str(seconds), body]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds + 30)
    result = json.loads(process.stdout)
    return Burst(result["requests"] / result["seconds"], result["p50"], result["p95"])


def fill(database: Scratch) -> None:
    """Import the servers through the API."""
    with TemporaryDirectory(prefix="bench-") as directory:
        path = Path(directory, "servers.xlsx")
        Fleet(SERVERS, gpus=0, containers=0).write(path)
        upload(log_in(database), path)
    database.release()
    with database.connect() as connection:
        connection.execute("VACUUM ANALYZE")


@contextmanager
def bare(database: Scratch) -> Iterator[Service]:
    """Serve the bare function with the statement that the platform runs."""
    page = projection_of(resource).statement.order_by(resource.model.__table__.c.id).limit(PAGE_SIZE)
    with database.app.app_context():
        compiled = page.compile(db.engine, compile_kwargs={"literal_binds": True})
    names = [field.name for field in resource.fields.values()]
    # The labels of referenced objects follow the fields.
    references = [
        (reference, names.index(field.name), index)
        for index, (reference, field) in enumerate(resource.references.items(), len(names))
    ]
    pagination = {"page": 1, "page_size": PAGE_SIZE, "total": SERVERS, "pages": -(-SERVERS // PAGE_SIZE)}
    query = BareQuery(plain(database.url), str(compiled), names, references, pagination)
    port = free_port()
    command = [sys.executable, "-m", "bench.bare", str(port), str(PLACES)]
    with served(command, {"BARE": json.dumps(asdict(query))}):
        service = Service("bare", port)
        service.wait_for(PATH)
        yield service


@contextmanager
def platform(name: str, settings: Mapping[str, str]) -> Iterator[Service]:
    """Serve the platform as `run.py` does, with one worker, and sign in."""
    port = free_port()
    fixed = {"FLASK_ENV": "production", "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "1"}
    with (
        TemporaryDirectory(prefix="bench-") as uploads,
        served([sys.executable, "run.py"], {**settings, **fixed, "UPLOAD_DIR": uploads, "LOG_LEVEL": "ERROR"}),
    ):
        service = Service(name, port)
        service.wait_for("/api/health/ready")
        account = {"username": USERNAME, "password": PASSWORD}
        yield replace(service, token=service.fetch("/api/auth/login", account)["data"]["access_token"])


@contextmanager
def served(command: list[str], settings: Mapping[str, str]) -> Iterator[None]:
    """Run a server for as long as the block lasts."""
    server = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


@contextmanager
def empty_redis() -> Iterator[str | None]:
    """The URL of BENCH_REDIS_URL, emptied at the end, or None if no Redis answers.

    It must be empty: the platform would use cached answers of others, and others those of the platform.
    """
    url = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/15")
    with redis.Redis.from_url(url, socket_timeout=3) as client:
        try:
            keys = client.dbsize()
        except redis.RedisError:
            yield None
            return
        if keys:
            sys.exit(f"{url} holds {keys} keys: empty it, or set BENCH_REDIS_URL to one that is empty.")
        try:
            yield url
        finally:
            client.flushdb()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
