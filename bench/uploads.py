"""A large workbook uploaded to a running server while a client reads single objects.

The platform serves as `run.py` does, with one worker. The time from the upload to the applied plan is compared with the
limit of `bench.imports` (the parser and COPY of the same rows alone, in the same run). Also measured: the peak memory
of the worker and of the child that reads the file, and the response times of the client.
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
from bench.imports import parse, stored_rows
from bench.proof import settings_for
from bench.scratch import Scratch, scratch
from bench.serving import Service, platform

ROWS = 100_000
ROUNDS = 3
PAUSE_SECONDS = 0.05
"""Between two requests of the client; without a pause they take much of a core."""
MAX_RATIO, MAX_MEGABYTES, MAX_MILLISECONDS = 3.0, 400, 100

_SAMPLE_SECONDS = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class ServerUsage:
    """Peak megabytes, and seconds of processor time."""

    worker: float = 0.0
    child: float = 0.0
    together: float = 0.0
    """Of worker and child at one moment."""
    processor: float = 0.0


@dataclass
class ResponseTimes:
    milliseconds: list[float] = field(default_factory=list)

    def p95(self) -> float:
        return sorted(self.milliseconds)[int(len(self.milliseconds) * 0.95)] if self.milliseconds else 0.0


@dataclass(frozen=True)
class Round:
    """Seconds, megabytes and milliseconds."""

    applied: float
    parsed: float
    copied: float
    usage: ServerUsage
    p95: float

    @property
    def ratio(self) -> float:
        return self.applied / (self.parsed + self.copied)


def run(rows: int = ROWS, rounds: int = ROUNDS, pause: float = PAUSE_SECONDS) -> None:
    """Print the medians of some rounds, of a workbook of servers with 15 columns."""
    with TemporaryDirectory(prefix="bench-") as directory, scratch() as database:
        path = Path(directory, "fleet.xlsx")
        Fleet(servers=rows, gpus=0, containers=0).write(path)
        show(rows, pause, [measure(database, path, pause) for _ in range(rounds)])


def measure(database: Scratch, path: Path, pause: float) -> Round:
    """One upload to a new server and database, then the limit."""
    database.renew()
    with settings_for(database) as settings, platform("ours", settings) as service:
        location = single_object(service)
        with sampling() as usage, reading(service, location, pause) as times:
            seconds = upload(service, path)
    stored = stored_rows(database)
    database.renew()
    return Round(seconds, parse(path), database.write_rows(stored), usage, times.p95())


def show(rows: int, pause: float, rounds: list[Round]) -> None:
    applied, parsed, copied, ratio, p95 = (
        median(getattr(one, what) for one in rounds) for what in ("applied", "parsed", "copied", "ratio", "p95")
    )
    worker, child, together, processor = (
        median(getattr(one.usage, what) for one in rounds) for what in ("worker", "child", "together", "processor")
    )
    print(f"uploads: {rows:,} servers with 15 columns, PostgreSQL, medians of {len(rounds)} rounds")
    print(f"  upload to applied      {applied:7.3f} s  {rows / applied:9,.0f} rows/s")
    print(f"  limit                  {parsed + copied:7.3f} s  parsing {parsed:.3f} s, COPY {copied:.3f} s")
    print(f"  applied / limit        {ratio:7.2f}    aim: at most {MAX_RATIO:g}")
    print(f"  worker and child       {processor:7.3f} s  of processor time, the client's requests included")
    print(f"  peak memory            {together:7.0f} MB at one moment, aim: at most {MAX_MEGABYTES} MB")
    print(f"    peaks of each        {worker + child:7.0f} MB worker {worker:.0f} MB, child {child:.0f} MB")
    print(f"  a GET each {1000 * pause:3.0f} ms      {p95:7.1f} ms p95, aim: at most {MAX_MILLISECONDS} ms")


def single_object(service: Service) -> str:
    """Create an object that the client reads; returns its path."""
    answer = service.fetch("/api/servers", {"name": "single-object"})
    return f"/api/servers/{answer['data']['id']}"


def upload(service: Service, path: Path) -> float:
    """The seconds from the upload until the plan is applied."""
    boundary = token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="apply"\r\n\r\ntrue\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode(),
        path.read_bytes(),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Authorization": f"Bearer {service.token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}/api/imports", b"".join(parts), headers)
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        location = answer.headers["Location"]
    while True:
        import_ = service.fetch(location)["data"]
        if import_["status"] == "applied":
            return time.perf_counter() - began
        if import_["status"] not in ("queued", "validating", "ready", "applying"):
            sys.exit(f"{path.name} was not applied: {import_['problem']}")
        time.sleep(0.1)


@contextmanager
def reading(service: Service, location: str, pause: float) -> Iterator[ResponseTimes]:
    """Read one object repeatedly until the block ends."""
    times = ResponseTimes()

    def read() -> None:
        began = time.perf_counter()
        service.fetch(location)
        times.milliseconds.append(1000 * (time.perf_counter() - began))

    with repeating(read, pause):
        yield times


@contextmanager
def sampling() -> Iterator[ServerUsage]:
    """Sample the memory of the server that this process runs until the block ends."""
    usage = ServerUsage()

    def sample() -> None:
        worker, child = (find(mark) for mark in (b"--multiprocessing-fork", b"/sheets/sandbox"))
        now = [memory(process, "VmRSS") for process in (worker, child)]
        usage.together = max(usage.together, sum(now))
        usage.worker = max(usage.worker, memory(worker, "VmHWM"))
        usage.child = max(usage.child, memory(child, "VmHWM"))
        usage.processor = max(usage.processor, processor_time(worker))

    sample()
    before = usage.processor
    with repeating(sample, _SAMPLE_SECONDS):
        yield usage
    sample()
    usage.processor -= before


@contextmanager
def repeating(act: Any, pause: float) -> Iterator[None]:
    """Call a function repeatedly in a thread until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def find(mark: bytes) -> int | None:
    """The child or grandchild of this process whose command line contains `mark`."""
    processes = [os.getpid()]
    while processes:
        process = processes.pop()
        try:
            if process != os.getpid() and mark in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
            for thread in Path(f"/proc/{process}/task").iterdir():
                processes += map(int, (thread / "children").read_text().split())
        except OSError:
            # The process has ended.
            continue
    return None


def memory(process: int | None, what: str) -> float:
    """Megabytes of a process, from a line of its status."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0.0)


def processor_time(process: int | None) -> float:
    """Seconds of processor time of a process and of its ended children."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
