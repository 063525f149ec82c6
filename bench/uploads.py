"""A large workbook uploaded to a running server while a client asks it for single objects.

The platform serves as `run.py` does, with one worker. Beside the time from the upload to the applied plan stand the
limit of `bench.imports` (the same parser and COPY of the same rows, alone, in the same run), the most memory that the
worker and the child that reads the file have had, and what the client notices of it.
"""

import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.fleet import Fleet
from bench.imports import copy_rows, parse, stored_rows
from bench.lists import Service, platform
from bench.proof import settings_for
from bench.scratch import Scratch, scratch

ROWS = 100_000
ROUNDS = 3
PAUSE = 0.05
"""Seconds between two questions of the client; 0 has it ask without a break, which takes much of a core."""
AIM, MOST_MEGABYTES, MOST_MILLISECONDS = 3.0, 400, 100

_LOOK_EVERY = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Watched:
    """Megabytes at most, and seconds of processor time."""

    worker: float = 0.0
    child: float = 0.0
    together: float = 0.0
    """At the same moment."""
    processor: float = 0.0


@dataclass
class Asked:
    """Milliseconds of each question of the client."""

    took: list[float] = field(default_factory=list)

    def p95(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.95)] if self.took else 0.0


@dataclass(frozen=True)
class Round:
    """Seconds, megabytes and milliseconds."""

    applied: float
    parsed: float
    copied: float
    watched: Watched
    p95: float

    @property
    def ratio(self) -> float:
        return self.applied / (self.parsed + self.copied)


def run(rows: int = ROWS, rounds: int = ROUNDS, pause: float = PAUSE) -> None:
    """Print the medians of some rounds over a workbook of servers with 15 columns."""
    with TemporaryDirectory(prefix="bench-") as directory, scratch() as database:
        path = Path(directory, "fleet.xlsx")
        Fleet(servers=rows, gpus=0, containers=0).write(path)
        show(rows, pause, [measure(database, path, pause) for _ in range(rounds)])


def measure(database: Scratch, path: Path, pause: float) -> Round:
    """One upload to a server and a database of its own, then the limit."""
    database.renew()
    with settings_for(database) as settings, platform("ours", settings) as service:
        location = single_object(service)
        with watching() as watched, asking(service, location, pause) as asked:
            seconds = upload(service, path)
    stored = stored_rows(database)
    database.renew()
    return Round(seconds, parse(path), copy_rows(database, stored), watched, asked.p95())


def show(rows: int, pause: float, rounds: list[Round]) -> None:
    applied, parsed, copied, ratio, p95 = (
        median(getattr(one, what) for one in rounds) for what in ("applied", "parsed", "copied", "ratio", "p95")
    )
    worker, child, together, processor = (
        median(getattr(one.watched, what) for one in rounds) for what in ("worker", "child", "together", "processor")
    )
    print(f"uploads: {rows:,} servers with 15 columns, PostgreSQL, medians of {len(rounds)} rounds")
    print(f"  upload to applied      {applied:7.3f} s  {rows / applied:9,.0f} rows/s")
    print(f"  limit                  {parsed + copied:7.3f} s  parsing {parsed:.3f} s, COPY {copied:.3f} s")
    print(f"  applied / limit        {ratio:7.2f}    aim: at most {AIM:g}")
    print(f"  worker and child       {processor:7.3f} s  of processor time, the client's questions included")
    print(f"  peak memory            {together:7.0f} MB at one moment, aim: at most {MOST_MEGABYTES} MB")
    print(f"    peaks of each        {worker + child:7.0f} MB worker {worker:.0f} MB, child {child:.0f} MB")
    print(f"  a GET each {1000 * pause:3.0f} ms      {p95:7.1f} ms p95, aim: at most {MOST_MILLISECONDS} ms")


def single_object(service: Service) -> str:
    """Make an object to ask for, and answer its path."""
    answer = service.fetch("/api/servers", {"name": "the-one-that-is-asked-for"})
    return f"/api/servers/{answer['data']['id']}"


def upload(service: Service, path: Path) -> float:
    """The seconds from the upload until the plan is applied."""
    edge = token_hex(16)
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="apply"\r\n\r\ntrue\r\n'.encode(),
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode(),
        path.read_bytes(),
        f"\r\n--{edge}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}", "Authorization": f"Bearer {service.token}"}
    question = urllib.request.Request(f"http://127.0.0.1:{service.port}/api/imports", b"".join(parts), headers)
    began = time.perf_counter()
    with urllib.request.urlopen(question, timeout=60) as answer:
        location = answer.headers["Location"]
    while True:
        job = service.fetch(location)["data"]
        if job["status"] == "applied":
            return time.perf_counter() - began
        if job["status"] not in ("queued", "validating", "ready", "applying"):
            sys.exit(f"{path.name} was not applied: {job['problem']}")
        time.sleep(0.1)


@contextmanager
def asking(service: Service, location: str, pause: float) -> Iterator[Asked]:
    """Ask for one object again and again, for as long as the block lasts."""
    asked = Asked()

    def ask() -> None:
        began = time.perf_counter()
        service.fetch(location)
        asked.took.append(1000 * (time.perf_counter() - began))

    with repeating(ask, pause):
        yield asked


@contextmanager
def watching() -> Iterator[Watched]:
    """Look at the memory of the server that this process runs, for as long as the block lasts."""
    watched = Watched()

    def look() -> None:
        worker, child = (find(mark) for mark in (b"--multiprocessing-fork", b"/sheets/sandbox"))
        now = [memory(process, "VmRSS") for process in (worker, child)]
        watched.together = max(watched.together, sum(now))
        watched.worker = max(watched.worker, memory(worker, "VmHWM"))
        watched.child = max(watched.child, memory(child, "VmHWM"))
        watched.processor = max(watched.processor, processor_time(worker))

    look()
    before = watched.processor
    with repeating(look, _LOOK_EVERY):
        yield watched
    look()
    watched.processor -= before


@contextmanager
def repeating(act: Any, pause: float) -> Iterator[None]:
    """Do something again and again in a thread, for as long as the block lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def find(mark: bytes) -> int | None:
    """The process, started by this one or by one of those, whose command line has this in it."""
    young = [os.getpid()]
    while young:
        process = young.pop()
        try:
            if process != os.getpid() and mark in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
            for thread in Path(f"/proc/{process}/task").iterdir():
                young += map(int, (thread / "children").read_text().split())
        except OSError:
            # It has ended meanwhile.
            continue
    return None


def memory(process: int | None, what: str) -> float:
    """Megabytes of a process, by a line of its status; what the parent's were before it became itself do not count."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0.0)


def processor_time(process: int | None) -> float:
    """The seconds that a process and the children it has waited for have taken."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
