"""A round of health checks, beside the same requests made by the standard library alone."""

import asyncio
import http.client
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection

import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.servers.models import Server
from app.services import check_scheduler
from app.services.models import Service, ServiceSchedule
from bench.scratch import scratch

SERVICES = 10_000
ROUNDS = 3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def run(services: int = SERVICES, rounds: int = ROUNDS) -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()
    try:
        with scratch() as made:
            app = made.app
            app.config["OUTGOING_ALLOWED"] = ("127.0.0.1/32",)
            made.allow_unrecorded()
            plan(app, services, port)
            # The first round changes the status of all of them.
            check(app, services)
            ours, bare = [], []
            for _ in range(rounds):
                bare.append(timed(lambda: ask(services, port)))
                ours.append(timed(lambda: check(app, services)))
    finally:
        server.terminate()
        server.join()
    for name, taken in (("bare requests", bare), ("a round of checks", ours)):
        wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{name:>20}: {wall:6.1f} s, {cpu:5.1f} s of a core, {services / wall:6.0f} a second")
    ratio = statistics.median(mine[1] / theirs[1] for mine, theirs in zip(ours, bare, strict=True))
    print(f"{'work':>20}: {ratio:.2f} times that of the bare requests")


def plan(app: Flask, services: int, port: int) -> None:
    """Make the services, past the audit log: there is nothing to be proven of them."""
    with app.app_context():
        same = {"version": 1, "tags": [], "attributes": {}, "created_at": utcnow(), "updated_at": utcnow()}
        db.session.execute(sa.insert(Server.__table__).values(id=1, name="bench", **same))
        del same["tags"]
        health = {"health_check": f"http://127.0.0.1:{port}/", "server_id": 1}
        rows = [{"name": f"service-{n}", **health, **same} for n in range(services)]
        db.session.execute(sa.insert(Service.__table__), rows)
        db.session.commit()


def check(app: Flask, services: int) -> None:
    with app.app_context():
        db.session.execute(sa.update(ServiceSchedule.__table__).values(due_at=utcnow()))
        db.session.commit()
        assert check_scheduler.run_due_checks() == services


def ask(services: int, port: int) -> None:
    def get(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        return status

    with ThreadPoolExecutor(check_scheduler.MAX_THREADS) as threads:
        assert set(threads.map(get, range(services))) == {200}


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and seconds of this process."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - cpu


def serve(ready: Connection) -> None:
    """Answer every request alike, in a process of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())
