"""Typical requests on a large estate, each compared with its SQL statements alone.

The statements of a request are recorded while the platform runs it in this process. Then the request is sent to the
platform, served as by `run.py`, and alternately its statements run, prepared, on a bare connection.
"""

import http.client
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import psycopg
import redis
import sqlalchemy as sa
from flask import Flask

from app.core.cache.generations import cache
from app.core.db.unit_of_work import db
from app.resource.query.pages.cursor import write_cursor
from app.servers.models import Server
from app.servers.routes import resource as servers
from bench.estate import Estate
from bench.imports import log_in
from bench.scratch import Scratch, plain, scratch
from bench.serving import Service, empty_redis, platform

ROUNDS = 40
AIM_SEARCH_P95_MS = 300
AIM_CURSOR_RATIO = 1.2
"""The cost of the last page by cursor, relative to the first one."""
FIRST, LAST = "cursor, first page", "cursor, last page"
FIRST_BY_NAME, LAST_BY_NAME = "cursor by name, first", "cursor by name, last"

Statement = tuple[str, Any]


@dataclass(frozen=True)
class Request:
    """A GET request; a cold one runs with an empty cache."""

    name: str
    path: str
    cold: bool = False


@dataclass(frozen=True)
class Durations:
    """Seconds of each round."""

    ours: Sequence[float]
    bare: Sequence[float]


def run(servers: int = Estate().servers, gpus: int = Estate().gpus, rounds: int = ROUNDS) -> None:
    """Print the percentiles of each request, and the cost of deep pages."""
    estate = Estate(servers, gpus)
    with ExitStack() as stack:
        # First, because it exits if Redis is not empty.
        url = stack.enter_context(empty_redis())
        database = stack.enter_context(scratch())
        began = time.perf_counter()
        estate.fill(database)
        print(f"scale: {estate.servers:,} servers, {estate.gpus:,} GPUs, PostgreSQL; filled in", end=" ")
        print(f"{time.perf_counter() - began:.0f} s; {rounds} interleaved rounds", flush=True)
        shared = {
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "REDIS_URL": url or "",
            "AUDIT_CHECKPOINTS": str(database.app.config["AUDIT_CHECKPOINTS"]),
            # The cursors are signed in this process.
            "SECRET_KEY": database.app.config["SECRET_KEY"],
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        }
        service = stack.enter_context(platform("ours", shared))
        connection = stack.enter_context(psycopg.connect(plain(database.url), autocommit=True, options="-c jit=off"))
        store = stack.enter_context(redis.Redis.from_url(url)) if url else None
        requests = all_requests(database)
        statements = record_statements(database, requests)
        durations = {
            request.name: measure(service, connection, request, statements[request.name], store, rounds)
            for request in requests
        }
    show(durations)


def all_requests(database: Scratch) -> list[Request]:
    last, last_by_name = last_cursors(database)
    requests = [
        Request("list", "/api/servers"),
        Request("list, uncounted", "/api/servers?total=none"),
        Request("list, cold", "/api/servers", cold=True),
        Request("list of a hundred", "/api/servers?page_size=100"),
        Request("filter: status", "/api/servers?status=retired"),
        Request("filter: datacenter, memory", "/api/servers?datacenter=oslo-7&memory_gb__gte=512&sort=-name"),
        Request("filter: serial number", "/api/servers?serial_number=SN0000000000"),
        Request("filter: attribute", "/api/servers?attributes.cost%20center=CC77"),
        Request("filter: name contains", "/api/servers?name__contains=0999&total=none"),
        Request("sort: datacenter", "/api/servers?sort=datacenter"),
        Request("q: rare", "/api/servers?q=web-0999"),
        Request("q: common", "/api/servers?q=example"),
        Request("q: nowhere", "/api/servers?q=zzzzz"),
        Request("page 4000", "/api/servers?page=4000"),
        Request(FIRST, "/api/servers?cursor=&total=none"),
        Request(LAST, f"/api/servers?cursor={last}&total=none"),
        Request(FIRST_BY_NAME, "/api/servers?cursor=&sort=name&total=none"),
        Request(LAST_BY_NAME, f"/api/servers?cursor={last_by_name}&sort=name&total=none"),
        Request("tree, level 3", "/api/servers/tree?level=3"),
        Request("GPUs", "/api/gpus"),
        Request("GPUs: model, available", "/api/gpus?model=NVIDIA%20A10&status=available"),
        Request("GPUs: uuid", "/api/gpus?uuid=GPU-1"),
        Request("GPUs: q", "/api/gpus?q=GPU-00ff"),
        Request("dashboard", "/api/dashboard"),
        Request("dashboard, cold", "/api/dashboard", cold=True),
        Request("four H100 on one server", "/api/gpus/available?model=H100&count=4&same_server=true"),
        Request("utilization", "/api/gpus/utilization"),
        Request("utilization, cold", "/api/gpus/utilization", cold=True),
    ]
    texts = ("web-0999", "web", "H100", "SN00", "trian-099997", "zzzzzzzz")
    return [*requests, *(Request(f"search: {text}", f"/api/search?q={text}") for text in texts)]


def last_cursors(database: Scratch) -> tuple[str, str]:
    """The cursors before the last pages, by id and by name."""
    with database.app.app_context():
        table = Server.__table__
        by_id = sa.select(table.c.id).order_by(table.c.id.desc()).offset(20).limit(1)
        by_name = sa.select(table.c.name, table.c.id).order_by(table.c.name.desc(), table.c.id.desc())
        values = db.session.execute(by_name.offset(20).limit(1)).one()
        last = write_cursor(servers, (), [db.session.scalar(by_id)], backwards=False)
        return last, write_cursor(servers, ("name",), list(values), backwards=False)


def record_statements(database: Scratch, requests: Sequence[Request]) -> dict[str, list[Statement]]:
    """The statements of each request, without those of authentication."""
    client = log_in(database)
    statements: dict[str, list[Statement]] = {}
    for request in requests:
        for is_warm in (False, True):
            if request.cold or not is_warm:
                with database.app.app_context():
                    cache.clear()
            with recorded(database.app) as sent:
                answer = client.get(request.path)
        assert answer.status_code == 200, (request.path, answer.text[:500])
        statements[request.name] = sent
    return statements


@contextmanager
def recorded(app: Flask) -> Iterator[list[Statement]]:
    with app.app_context():
        engine = db.engine
    sent: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")) and "auth_sessions" not in statement:
            sent.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def cursor_for(connection: psycopg.Connection, parameters: Any) -> psycopg.Cursor:
    """A cursor for a recorded statement; those that the platform prepares have parameters `$1`, not `%(name)s`."""
    return connection.cursor() if isinstance(parameters, Mapping) else psycopg.RawCursor(connection)


def measure(
    service: Service,
    connection: psycopg.Connection,
    request: Request,
    statements: Sequence[Statement],
    store: redis.Redis | None,
    rounds: int,
) -> Durations:
    """Send the request and run its statements alternately; the first six rounds, which plan them, do not count."""
    ours, bare = [], []
    browser = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    for number in range(-6, rounds):
        if request.cold and store is not None:
            store.flushdb()
        began = time.perf_counter()
        browser.request("GET", request.path, headers={"Authorization": f"Bearer {service.token}"})
        answer = browser.getresponse()
        answer.read()
        between = time.perf_counter()
        for statement, parameters in statements:
            cursor_for(connection, parameters).execute(statement.encode(), parameters, prepare=True).fetchall()
        if answer.status != 200:
            raise RuntimeError(f"{request.path} was answered with {answer.status}.")
        if number >= 0:
            ours.append(between - began)
            bare.append(time.perf_counter() - between)
    browser.close()
    return Durations(ours, bare)


def show(durations: Mapping[str, Durations]) -> None:
    print(f"  {'':28} {'p50 ms':>8} {'p95 ms':>8} {'SQL p50':>8} {'SQL p95':>8} {'p50 / SQL':>9}")
    for name, one in durations.items():
        bare = [1000 * seconds for seconds in (median(one.bare), quantiles(one.bare, n=20)[-1])]
        ours = [1000 * seconds for seconds in (median(one.ours), quantiles(one.ours, n=20)[-1])]
        times = f"{ours[0] / bare[0]:9.2f}" if bare[0] > 0.1 else f"{'cached':>9}"
        print(f"  {name:28} {ours[0]:8.1f} {ours[1]:8.1f} {bare[0]:8.1f} {bare[1]:8.1f} {times}")
    for first, last in ((FIRST, LAST), (FIRST_BY_NAME, LAST_BY_NAME)):
        ratio = median(durations[last].ours) / median(durations[first].ours)
        print(f"  {last} / first: {ratio:.2f}, aim: at most {AIM_CURSOR_RATIO:g}")
    slowest = max((quantiles(one.ours, n=20)[-1], name) for name, one in durations.items() if name.startswith("search"))
    print(f"  slowest search at p95: {1000 * slowest[0]:.0f} ms ({slowest[1]}), aim: {AIM_SEARCH_P95_MS} ms")
