"""Servers under load: the platform as `run.py` serves it, their settings, and bursts of requests."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from bench.scratch import PASSWORD, USERNAME
from config import ROOT

START_SECONDS = 60
LOAD = Path(__file__).with_name("load.py")


@dataclass(frozen=True)
class Service:
    """A server under load: its name, its port, the process that serves it, and the token of the requests."""

    name: str
    port: int
    pid: int
    token: str = ""

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
    """The number of requests, how many per second, and percentiles in milliseconds."""

    requests: int
    rate: float
    p50: float
    p95: float


def load(service: Service, clients: int, seconds: float, path: str, body: str = "", method: str = "PATCH") -> Burst:
    """Send requests from a process of its own; see `load.py` for path, body and method."""
    target = ("127.0.0.1", str(service.port), path, service.token)
    command = [sys.executable, "-I", str(LOAD), *target, str(clients), str(seconds), body, method]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds + 30)
    result = json.loads(process.stdout)
    requests = result["requests"]
    return Burst(requests, requests / result["seconds"], result["p50"], result["p95"])


@contextmanager
def platform(name: str, settings: Mapping[str, str]) -> Iterator[Service]:
    """Serve the platform as `run.py` does, with one worker unless `settings` say otherwise, and sign in."""
    port = free_port()
    fixed = {"FLASK_ENV": "production", "HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "ERROR"}
    with (
        TemporaryDirectory(prefix="bench-") as uploads,
        served([sys.executable, "run.py"], {"WORKERS": "1", **settings, **fixed, "UPLOAD_DIR": uploads}) as pid,
    ):
        service = Service(name, port, pid)
        service.wait_for("/api/health/ready")
        account = {"username": USERNAME, "password": PASSWORD}
        yield replace(service, token=service.fetch("/api/auth/login", account)["data"]["access_token"])


@contextmanager
def served(command: list[str], settings: Mapping[str, str]) -> Iterator[int]:
    """Run a server for as long as the block lasts; yields its process id."""
    server = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        yield server.pid
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
