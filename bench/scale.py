"""What people look at when there is very much of it, each beside its own SQL alone.

The statements that an answer needs are taken down while the platform answers in this process. Then the platform, served
as `run.py` does, and a bare connection that has them prepared and fetches their rows are asked in turn.
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

from app.core.cache.backends import cache
from app.core.db.unit_of_work import db
from app.resource.query.cursor import write_cursor
from app.servers.models import Server
from app.servers.routes import resource as servers
from bench.estate import Estate
from bench.imports import log_in
from bench.lists import Service, empty_redis, platform
from bench.scratch import Scratch, plain, scratch

ROUNDS = 40
AIM_MS = 300
"""What a search may take at the 95th percentile."""
AIM_WALK = 1.2
"""How many times what the first page of a walk costs the last one may cost."""
FIRST, LAST = "walk, first page", "walk, last page"
FIRST_BY_NAME, LAST_BY_NAME = "walk by name, first", "walk by name, last"

Statement = tuple[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked for; a cold one finds nothing in the cache."""

    name: str
    path: str
    cold: bool = False


@dataclass(frozen=True)
class Took:
    """Seconds of each round."""

    ours: Sequence[float]
    bare: Sequence[float]


def run(servers: int = Estate().servers, gpus: int = Estate().gpus, rounds: int = ROUNDS) -> None:
    """Print the percentiles of each question, and what a deep page costs."""
    estate = Estate(servers, gpus)
    with ExitStack() as stack:
        # Refuses to work beside what is in it, and had better do so at once.
        url = stack.enter_context(empty_redis())
        database = stack.enter_context(scratch())
        began = time.perf_counter()
        estate.fill(database)
        print(f"scale: {estate.servers:,} servers, {estate.gpus:,} GPUs, PostgreSQL; filled in", end=" ")
        print(f"{time.perf_counter() - began:.0f} s; {rounds} interleaved rounds", flush=True)
        shared = {
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "REDIS_URL": url or "",
            # Cursors made here are to be good there.
            "SECRET_KEY": database.app.config["SECRET_KEY"],
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        }
        service = stack.enter_context(platform("ours", shared))
        connection = stack.enter_context(psycopg.connect(plain(database.url), autocommit=True, options="-c jit=off"))
        store = stack.enter_context(redis.Redis.from_url(url)) if url else None
        asked = questions(database)
        needed = taken_down(database, asked)
        took = {one.name: ask(service, connection, one, needed[one.name], store, rounds) for one in asked}
    show(took)


def questions(database: Scratch) -> list[Question]:
    last, last_by_name = last_places(database)
    listed = [
        Question("list", "/api/servers"),
        Question("list, uncounted", "/api/servers?total=none"),
        Question("list, counted anew", "/api/servers", cold=True),
        Question("a hundred", "/api/servers?page_size=100"),
        Question("filter: status", "/api/servers?status=retired"),
        Question("filter: datacenter, memory", "/api/servers?datacenter=oslo-7&memory_gb__gte=512&sort=-name"),
        Question("filter: serial number", "/api/servers?serial_number=SN0000000000"),
        Question("filter: attribute", "/api/servers?attributes.cost%20center=CC77"),
        Question("filter: name contains", "/api/servers?name__contains=0999&total=none"),
        Question("sort: datacenter", "/api/servers?sort=datacenter"),
        Question("q: rare", "/api/servers?q=web-0999"),
        Question("q: common", "/api/servers?q=example"),
        Question("q: nowhere", "/api/servers?q=zzzzz"),
        Question("page 4000", "/api/servers?page=4000"),
        Question(FIRST, "/api/servers?cursor=&total=none"),
        Question(LAST, f"/api/servers?cursor={last}&total=none"),
        Question(FIRST_BY_NAME, "/api/servers?cursor=&sort=name&total=none"),
        Question(LAST_BY_NAME, f"/api/servers?cursor={last_by_name}&sort=name&total=none"),
        Question("tree, level 3", "/api/servers/tree?level=3"),
        Question("GPUs", "/api/gpus"),
        Question("GPUs: model, available", "/api/gpus?model=NVIDIA%20A10&status=available"),
        Question("GPUs: uuid", "/api/gpus?uuid=GPU-1"),
        Question("GPUs: q", "/api/gpus?q=GPU-00ff"),
        Question("dashboard", "/api/dashboard"),
        Question("dashboard, counted anew", "/api/dashboard", cold=True),
        Question("four H100 on one server", "/api/gpus/available?model=H100&count=4&same_server=true"),
        Question("utilization", "/api/gpus/utilization"),
        Question("utilization, anew", "/api/gpus/utilization", cold=True),
    ]
    texts = ("web-0999", "web", "H100", "SN00", "trian-099997", "zzzzzzzz")
    return [*listed, *(Question(f"search: {text}", f"/api/search?q={text}") for text in texts)]


def last_places(database: Scratch) -> tuple[str, str]:
    """The cursors before the last pages, by id and by name."""
    with database.app.app_context():
        table = Server.__table__
        by_id = sa.select(table.c.id).order_by(table.c.id.desc()).offset(20).limit(1)
        by_name = sa.select(table.c.name, table.c.id).order_by(table.c.name.desc(), table.c.id.desc())
        place = db.session.execute(by_name.offset(20).limit(1)).one()
        last = write_cursor(servers, (), [db.session.scalar(by_id)], backwards=False)
        return last, write_cursor(servers, ("name",), list(place), backwards=False)


def taken_down(database: Scratch, asked: Sequence[Question]) -> dict[str, list[Statement]]:
    """The statements that each answer needs, but those that find out who asks."""
    client = log_in(database)
    needed: dict[str, list[Statement]] = {}
    for one in asked:
        for warm in (False, True):
            if one.cold or not warm:
                with database.app.app_context():
                    cache.clear()
            with recorded(database.app) as sent:
                answer = client.get(one.path)
        assert answer.status_code == 200, (one.path, answer.text[:500])
        needed[one.name] = sent
    return needed


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


def ask(
    service: Service,
    connection: psycopg.Connection,
    one: Question,
    statements: Sequence[Statement],
    store: redis.Redis | None,
    rounds: int,
) -> Took:
    """Ask the platform and the bare connection in turn; the first rounds, which make their plans, do not count."""
    ours, bare = [], []
    browser = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    for number in range(-6, rounds):
        if one.cold and store is not None:
            store.flushdb()
        began = time.perf_counter()
        browser.request("GET", one.path, headers={"Authorization": f"Bearer {service.token}"})
        answer = browser.getresponse()
        answer.read()
        between = time.perf_counter()
        for statement, parameters in statements:
            connection.execute(statement.encode(), parameters, prepare=True).fetchall()
        if answer.status != 200:
            raise RuntimeError(f"{one.path} was answered {answer.status}.")
        if number >= 0:
            ours.append(between - began)
            bare.append(time.perf_counter() - between)
    browser.close()
    return Took(ours, bare)


def show(took: Mapping[str, Took]) -> None:
    print(f"  {'':28} {'p50 ms':>8} {'p95 ms':>8} {'SQL p50':>8} {'SQL p95':>8} {'p50 / SQL':>9}")
    for name, one in took.items():
        bare = [1000 * part for part in (median(one.bare), quantiles(one.bare, n=20)[-1])]
        ours = [1000 * part for part in (median(one.ours), quantiles(one.ours, n=20)[-1])]
        times = f"{ours[0] / bare[0]:9.2f}" if bare[0] > 0.1 else f"{'cached':>9}"
        print(f"  {name:28} {ours[0]:8.1f} {ours[1]:8.1f} {bare[0]:8.1f} {bare[1]:8.1f} {times}")
    for first, last in ((FIRST, LAST), (FIRST_BY_NAME, LAST_BY_NAME)):
        ratio = median(took[last].ours) / median(took[first].ours)
        print(f"  {last} / first: {ratio:.2f}, aim: at most {AIM_WALK:g}")
    slowest = max((quantiles(one.ours, n=20)[-1], name) for name, one in took.items() if name.startswith("search"))
    print(f"  slowest search at p95: {1000 * slowest[0]:.0f} ms ({slowest[1]}), aim: {AIM_MS} ms")
