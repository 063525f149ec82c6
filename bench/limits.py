"""Requests on a large estate over HTTP, each beside a bare WSGI function that runs the same statements.

Both run on the same server with the same number of workers and places, with Redis, for one client and for eight, in
short bursts in turn. The statements of a request are recorded while the platform answers it in this process;
those that find out who asks are left out. Both must answer the same. docs/performance.md shows the table as printed.
"""

import json
import random
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from app.core.db.unit_of_work import db
from app.events.service import FeedWindow
from app.proof import sealer
from app.proof.models import leaves
from app.servers.models import Server
from bench.bare import Limit, Limits
from bench.estate import Estate
from bench.fleet import Fleet
from bench.imports import log_in, upload
from bench.limit_requests import RECORDED_SERVERS, Request, all_requests
from bench.load import vary
from bench.processor import Processes, megabytes_of_workers
from bench.scale import recorded
from bench.scratch import Scratch, scratch
from bench.serving import Burst, Service, empty_redis, free_port, load, platform, served
from run import PLACES

WORKERS = 2
ROUNDS = 5
BURST_SECONDS = 1.0
CLIENTS = (1, 8)


@dataclass(frozen=True)
class Measured:
    """A burst, and the seconds of processor time of the server's processes and of the database's."""

    burst: Burst
    application: float
    database: float


Results = dict[tuple[str, str, int], list[Measured]]
"""By the name of the request, the name of the service and the number of clients."""


def run(
    servers: int = Estate().servers,
    gpus: int = Estate().gpus,
    rounds: int = ROUNDS,
    seconds: float = BURST_SECONDS,
    only: str = "",
    database: str = "postgresql",
) -> None:
    """Print the table, or its rows with names that match the regular expression `only`."""
    with ExitStack() as stack:
        # First, because it exits if Redis is not empty.
        redis_url = stack.enter_context(empty_redis())
        created = stack.enter_context(scratch(database))
        first, cursor = fill(created, Estate(servers, gpus))
        requests = [one for one in all_requests(first, cursor, database) if re.search(only, one.name)]
        shared = {
            "DATABASE_URL": created.url.render_as_string(hide_password=False),
            "REDIS_URL": redis_url or "",
            "AUDIT_CHECKPOINTS": str(created.app.config["AUDIT_CHECKPOINTS"]),
            "API_LIMIT": "1000000 per minute",
            # The cursor of the feed is signed in this process.
            "SECRET_KEY": created.app.config["SECRET_KEY"],
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "WORKERS": str(WORKERS if redis_url else 1),
        }
        bare = stack.enter_context(bare_function(created, record_limits(created, requests)))
        ours = stack.enter_context(platform("ours", shared))
        connection = stack.enter_context(created.connect())
        results: Results = {}
        # The writes come last: each makes the answer of the feed longer.
        for request in requests:
            if not request.body:
                require_equal(ours, bare, request)
            for number in range(-1, rounds):
                for clients in CLIENTS:
                    for service in (ours, bare):
                        backends = [folder for folder in created.backends(connection) if folder.exists()]
                        measured = measure(service, backends, request, clients, seconds)
                        if number >= 0:
                            results.setdefault((request.name, service.name, clients), []).append(measured)
        print(
            f"limits: {servers:,} servers, {gpus:,} GPUs, {created.title}{' and Redis' if redis_url else ''},", end=" "
        )
        print(f"{shared['WORKERS']} workers, medians of {rounds} rounds; rates and ratios: one client / eight")
        show(requests, results)
        sizes = ", ".join(f"{one:.0f} MB" for one in megabytes_of_workers(ours.pid))
        print(f"memory of the processes, each with its part of what they share: {sizes}")


def fill(database: Scratch, estate: Estate) -> tuple[int, str]:
    """Write the estate, and servers with records; the id of the first of them, and a cursor of the feed."""
    estate.fill(database)
    client = log_in(database)
    with TemporaryDirectory(prefix="bench-") as directory:
        path = Path(directory, "servers.xlsx")
        Fleet(RECORDED_SERVERS, gpus=0, containers=0).write(path)
        upload(client, path)
    with database.app.app_context():
        # The feed shows sealed records only.
        sealer.seal()
        first = db.session.scalar(sa.select(sa.func.max(Server.id))) or 0
        size = db.session.scalar(sa.select(sa.func.count()).select_from(leaves)) or 0
        cursor = FeedWindow(0, max(0, size - 20), size).cursor
    database.release()
    database.analyze()
    return first - RECORDED_SERVERS + 1, cursor


def record_limits(database: Scratch, requests: Sequence[Request]) -> dict[str, Limit]:
    """The statements of each request with their values, and the names of the columns in its answer."""
    client = log_in(database)
    with database.connect() as connection:
        limits = {}
        for request in requests:
            if request.limit:
                statements = [(request.limit, ["id"])]
            else:
                sent, names = record(database, client, request)
                described = [database.described(connection, sql, values) for sql, values in sent]
                statements = [(text, named(columns, names)) for text, columns in described]
            limits[request.name] = Limit(statements, bool(request.limit))
    database.release()
    return limits


def record(database: Scratch, client: FlaskClient, request: Request) -> tuple[list[tuple[str, Any]], list[str]]:
    """The queries of a request whose total is cached, and the names of the fields of what it answers with."""
    first_number = random.randrange(10**6, 10**9)
    for number in (first_number, first_number + 1):
        with recorded(database.app) as sent:
            answer = client.get(vary(request.recorded or request.path, number))
    assert answer.status_code == 200, (request.path, answer.text[:500])
    data = json.loads(answer.text)["data"]
    items = items_of(data)
    return [query for query in sent if "set_config" not in query[0]], list(next(iter(items), {}))


def items_of(data: Any) -> list[Any]:
    """The objects in the data of an answer: those of a list, those of the feed, or the one that it is."""
    items: list[Any] = data if isinstance(data, list) else data.get("events", [data])
    return items


def require_equal(ours: Service, bare: Service, request: Request) -> None:
    """Exit unless the bare function answers every text that the platform answers."""
    items = items_of(ours.fetch(vary(request.path, random.randrange(10**6, 10**9)))["data"])
    answered = json.dumps(bare.fetch(path_of(request.name)), ensure_ascii=False)
    missing = [text for text in texts_of(items) if json.dumps(text, ensure_ascii=False)[1:-1] not in answered]
    if not items or missing:
        sys.exit(f"{request.name}: the bare function does not answer the same: {len(items)} objects, {missing[:5]}")


def texts_of(value: Any) -> Iterator[str]:
    """The texts within a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from texts_of(one)
    elif isinstance(value, str):
        yield value


def named(columns: list[str], names: Sequence[str]) -> list[str]:
    """The names of the columns of a query: those of the fields as far as there are, so that answers have one size."""
    return [*names[: len(columns)], *columns[len(names) :]] if len(columns) > 1 else columns


@contextmanager
def bare_function(database: Scratch, limits: Mapping[str, Limit]) -> Iterator[Service]:
    """Serve the bare function; the path of a request is its name without blanks."""
    port = free_port()
    settings = Limits(
        database.name, dict(database.bare_options), {path_of(name): limit for name, limit in limits.items()}
    )
    command = [sys.executable, "-m", "bench.bare", str(port), str(WORKERS), str(PLACES)]
    with served(command, {"BARE": json.dumps(settings)}) as pid:
        service = Service("bare", port, pid)
        service.wait_for(path_of(next(iter(limits))))
        yield service


def path_of(name: str) -> str:
    return "/" + re.sub(r"\W+", "-", name)


def measure(service: Service, backends: Sequence[Path], request: Request, clients: int, seconds: float) -> Measured:
    """One burst of a request."""
    server, connections = Processes.of(service.pid), Processes(backends)
    if service.name == "bare":
        burst = load(service, clients, seconds, path_of(request.name))
    else:
        burst = load(service, clients, seconds, request.path, request.body, request.method)
    return Measured(burst, server.seconds(), connections.seconds())


def show(requests: Sequence[Request], results: Results) -> None:
    print("\n| request | ours | bare | ratio | CPU ms app / db | of bare | ratio of CPU |")
    print("|---|---|---|---|---|---|---|")
    for request in requests:
        ours, bare = ([results[request.name, name, clients] for clients in CLIENTS] for name in ("ours", "bare"))
        rates = [[median(one.burst.rate for one in bursts) for bursts in service] for service in (ours, bare)]
        ratios = [
            median(one.burst.rate / limit.burst.rate for one, limit in zip(*pair, strict=True))
            for pair in zip(ours, bare, strict=True)
        ]
        costs = [milliseconds(bursts) for bursts in (ours, bare)]
        cells = [
            request.name,
            *(" / ".join(f"{rate:,.0f}" for rate in of_service) for of_service in rates),
            " / ".join(f"{ratio:.2f}" for ratio in ratios),
            *(" / ".join(f"{cost:.2f}" for cost in of_service) for of_service in costs),
            f"{sum(costs[1]) / sum(costs[0]):.2f}",
        ]
        print(f"| {' | '.join(cells)} |")


def milliseconds(bursts: Sequence[Sequence[Measured]]) -> tuple[float, float]:
    """Processor time per request: of the application and of the database, medians over all bursts."""
    every = [one for of_clients in bursts for one in of_clients]
    return (
        median(1000 * one.application / one.burst.requests for one in every),
        median(1000 * one.database / one.burst.requests for one in every),
    )
