"""Peak memory of the server while it imports a large sheet: new, the same again, and its exports.

Each file goes to a new server with one worker, as `run.py` starts it, so that no peak hides in an earlier one. Counted
are the worker, which is the process of web requests and jobs, the child that reads the file, and both at one moment.
"""

import secrets
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.fleet import Fleet
from bench.proof import settings_for
from bench.scratch import PASSWORD, USERNAME, scratch
from bench.serving import Service, platform
from bench.uploads import MAX_MEGABYTES, ROWS, sampling, upload

TIMEOUT_SECONDS = 300


def run(rows: int = ROWS, database: str = "all") -> None:
    """Print the peaks of servers with 15 columns on one database or on all."""
    print(f"memory: {rows:,} servers with 15 columns; aim: at most {MAX_MEGABYTES} MB together")
    print(f"  {'MB':32} {'worker':>8} {'child':>8} {'together':>9} {'seconds':>8}")
    with TemporaryDirectory(prefix="bench-") as directory:
        path = Path(directory, "fleet.xlsx")
        Fleet(servers=rows, gpus=0, containers=0).write(path)
        for name in ("PostgreSQL", "SQLite", "MariaDB"):
            if database in ("all", name.lower()):
                with _sqlite() if name == "SQLite" else _server(name.lower()) as settings:
                    measure_imports(name, settings, path)


def measure_imports(name: str, settings: Mapping[str, str], path: Path) -> None:
    measure_import(f"{name}, new", settings, path)
    measure_import(f"{name}, the same again", settings, path)
    for kind in ("xlsx", "csv"):
        exported = path.with_name(f"export.{kind}")
        with platform("ours", settings) as service:
            export(service, exported)
        measure_import(f"{name}, its {kind} export", settings, exported)


def measure_import(what: str, settings: Mapping[str, str], path: Path) -> None:
    with platform("ours", settings) as service, sampling() as usage:
        seconds = upload(service, path)
    megabytes = f"{usage.worker:8.0f} {usage.child:8.0f} {usage.together:9.0f}"
    print(f"  {what:32} {megabytes} {seconds:8.1f}", flush=True)


def export(service: Service, path: Path) -> None:
    url = f"http://127.0.0.1:{service.port}/api/servers/export?format={path.suffix[1:]}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {service.token}"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)


@contextmanager
def _server(name: str) -> Iterator[Mapping[str, str]]:
    with scratch(name) as database, settings_for(database) as settings:
        yield settings


@contextmanager
def _sqlite() -> Iterator[Mapping[str, str]]:
    with TemporaryDirectory(prefix="bench-") as directory:
        yield _own(f"sqlite:///{directory}/itam.db", directory)


def _own(url: str, directory: str) -> dict[str, str]:
    """The settings of an installation of its own."""
    account = {"ADMIN_USERNAME": USERNAME, "ADMIN_PASSWORD": PASSWORD}
    keys = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}
    return {**keys, **account, "DATABASE_URL": url, "AUDIT_CHECKPOINTS": f"{directory}/checkpoints", "REDIS_URL": ""}
