"""A round of health checks, compared with the same requests through http.client."""

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
    receiver, sender = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(sender,), daemon=True)
    server.start()
    port = receiver.recv()
    try:
        with scratch() as database:
            app = database.app
            app.config["OUTGOING_ALLOWED"] = ("127.0.0.1/32",)
            database.allow_unrecorded()
            fill(app, services, port)
            # Not measured: the first round changes the status of every service.
            check(app, services)
            ours, bare = [], []
            for _ in range(rounds):
                bare.append(timed(lambda: fetch(services, port)))
                ours.append(timed(lambda: check(app, services)))
    finally:
        server.terminate()
        server.join()
    for name, durations in (("bare requests", bare), ("a round of checks", ours)):
        wall, cpu = (statistics.median(column) for column in zip(*durations, strict=True))
        print(f"{name:>20}: {wall:6.1f} s, {cpu:5.1f} s of a core, {services / wall:6.0f} a second")
    ratio = statistics.median(mine[1] / theirs[1] for mine, theirs in zip(ours, bare, strict=True))
    print(f"{'work':>20}: {ratio:.2f} times the CPU time of the bare requests")


def fill(app: Flask, services: int, port: int) -> None:
    """Insert the services without audit records."""
    with app.app_context():
        common = {"version": 1, "tags": [], "attributes": {}, "created_at": utcnow(), "updated_at": utcnow()}
        db.session.execute(sa.insert(Server.__table__).values(id=1, name="bench", **common))
        del common["tags"]
        health = {"health_check": f"http://127.0.0.1:{port}/", "server_id": 1}
        rows = [{"name": f"service-{n}", **health, **common} for n in range(services)]
        db.session.execute(sa.insert(Service.__table__), rows)
        db.session.commit()


def check(app: Flask, services: int) -> None:
    with app.app_context():
        db.session.execute(sa.update(ServiceSchedule.__table__).values(due_at=utcnow()))
        db.session.commit()
        assert check_scheduler.run_due_checks() == services


def fetch(services: int, port: int) -> None:
    def get(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        return status

    with ThreadPoolExecutor(check_scheduler.MAX_THREADS) as threads:
        assert set(threads.map(get, range(services))) == {200}


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall clock seconds and CPU seconds of this process."""
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def serve(ready: Connection) -> None:
    """Give every request the same answer; runs in a process of its own."""

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
