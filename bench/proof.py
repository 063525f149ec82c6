"""The cost of the proof of the audit log: a verification of a million records, and the overhead of each write.

The set-based writer makes the log; `flask audit verify` runs in a process of its own. Writes are PATCH requests of
eight clients, each to a server of its own, alternately to the platform and to the same platform without audit records,
MACs and sealing.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from flask import Flask

from app.core.db.unit_of_work import db
from app.proof.sealer import seal
from app.resource.bulk import writer
from app.servers.models import Server
from app.servers.routes import resource
from bench.scratch import PASSWORD, USERNAME, Scratch, scratch
from bench.serving import Burst, Service, free_port, load, platform, served

RECORDS = 1_000_000
ROUNDS = 5
SECONDS = 4.0
CLIENTS = 8
AIM_SECONDS, AIM_MEGABYTES, AIM_SHARE = 60, 300, 0.75

PAUSE_SECONDS = 0.3
"""The pause between two bursts, in which the last write of each client ends."""
INITIAL_RECORDS = 40_000
"""Records in the log before the first write is measured."""

_BATCH_SERVERS = 10_000
_CHANGES = 3
"""Changes of each server after its creation."""


def run(records: int = RECORDS, rounds: int = ROUNDS, seconds: float = SECONDS) -> None:
    """Print the medians of the writes, and a verification of this many records unless it is 0."""
    with scratch() as database:
        with settings_for(database) as settings:
            measure_writes(database, settings, rounds, seconds)
        if records:
            database.renew()
            with settings_for(database) as settings:
                measure_verification(database, settings, records)


@contextmanager
def settings_for(database: Scratch) -> Iterator[dict[str, str]]:
    """The environment of a process on the same database, with the same keys and a folder for its checkpoints."""
    with TemporaryDirectory(prefix="bench-") as checkpoints:
        secrets = {name: database.app.config[name] for name in ("SECRET_KEY", "JWT_SECRET_KEY")}
        url = database.url.render_as_string(hide_password=False)
        yield {**secrets, "DATABASE_URL": url, "AUDIT_CHECKPOINTS": checkpoints, "REDIS_URL": ""}


def measure_verification(database: Scratch, settings: dict[str, str], records: int) -> None:
    began = time.perf_counter()
    with database.connect() as connection:
        # Verification does not use them, and they take longer to fill than the log.
        connection.execute("DROP INDEX IF EXISTS ix_audit_logs_terms, ix_audit_logs_texts")
    fill(database.app, records)
    filled = time.perf_counter()
    database.app.config["AUDIT_CHECKPOINTS"] = Path(settings["AUDIT_CHECKPOINTS"])
    with database.app.app_context():
        count = seal()
    sealed = time.perf_counter()
    with database.connect() as connection:
        connection.execute("VACUUM ANALYZE")
    fixed = {"FLASK_APP": "run", "FLASK_ENV": "production", "UPLOAD_DIR": settings["AUDIT_CHECKPOINTS"]}
    command = [sys.executable, "-m", "flask", "audit", "verify"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **settings, **fixed}, stdout=subprocess.PIPE, text=True)
    _, status, used = os.wait4(process.pid, 0)
    duration = time.perf_counter() - begin
    assert process.stdout is not None
    print(f"proof: {process.stdout.read().strip()} (exit code {os.waitstatus_to_exitcode(status)})")
    print(f"  written                {filled - began:7.1f} s")
    print(f"  sealed                 {sealed - filled:7.1f} s  {count / (sealed - filled):9,.0f} records/s")
    print(f"  verified               {duration:7.1f} s  aim: at most {AIM_SECONDS} s for a million")
    print(f"  of that in Python      {used.ru_utime:7.1f} s")
    print(f"  peak memory            {used.ru_maxrss / 1024:7.0f} MB aim: at most {AIM_MEGABYTES} MB")


def fill(app: Flask, records: int) -> None:
    """Create servers and change each of them _CHANGES times, by the set-based writer."""
    servers = records // (1 + _CHANGES)
    with app.app_context():
        for start in range(0, servers, _BATCH_SERVERS):
            count = min(_BATCH_SERVERS, servers - start)
            ids = writer.allocate_ids(resource, count)
            rows = [{"name": f"node-{identity:07}", "owner": "team 0", "memory_gb": 256} for identity in ids]
            writer.insert(resource, ids, rows, None)
            for turn in range(_CHANGES):
                old, new = {"owner": f"team {turn}"}, {"owner": f"team {turn + 1}"}
                changes = [writer.Change(identity, turn + 1, f"node-{identity:07}", old, new) for identity in ids]
                writer.update(Server, changes)
            db.session.commit()


def measure_writes(database: Scratch, settings: dict[str, str], rounds: int, seconds: float) -> None:
    # Statements must be planned for a log of some size, not for an empty one.
    fill(database.app, INITIAL_RECORDS)
    with database.app.app_context():
        ids = writer.allocate_ids(resource, 2 * CLIENTS)
        writer.insert(resource, ids, [{"name": f"node-{identity}"} for identity in ids], None)
        db.session.commit()
    database.release()
    with database.connect() as connection:
        connection.execute("VACUUM ANALYZE")
    bursts_of: dict[str, list[Burst]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(platform("ours", settings))
        bare = stack.enter_context(without_log(settings))
        for number in range(rounds + 1):
            for service, first in ((ours, ids[0]), (bare, ids[CLIENTS])):
                with recorded(database, service is ours):
                    burst = write(service, first, seconds if number else 1.0)
                if number:
                    bursts_of.setdefault(service.name, []).append(burst)
    print(f"proof: PATCH /api/servers/<id>, {CLIENTS} clients, PostgreSQL, medians of {rounds} interleaved rounds")
    for name, bursts in bursts_of.items():
        rate, p50, p95 = (median(getattr(burst, figure) for burst in bursts) for figure in ("rate", "p50", "p95"))
        print(f"  {name:20} {rate:8,.0f} writes/s  p50 {p50:7.2f} ms  p95 {p95:7.2f} ms")
    share = median(one.rate / other.rate for one, other in zip(*bursts_of.values(), strict=True))
    print(f"  with / without       {share:8.0%}    aim: at least {AIM_SHARE:.0%}")


def write(service: Service, first: int, seconds: float) -> Burst:
    return load(service, CLIENTS, seconds, f"/api/servers/{{{first}}}", '{"owner": "team {turn}"}')


@contextmanager
def recorded(database: Scratch, required: bool) -> Iterator[None]:  # noqa: FBT001 - reads as a claim
    """Have the database require an audit record of each change, or not, during the block."""
    with database.connect() as connection:
        for trigger in ("servers_recorded", "servers_change_recorded"):
            connection.execute(f"ALTER TABLE servers {'ENABLE' if required else 'DISABLE'} TRIGGER {trigger}")
    yield
    time.sleep(PAUSE_SECONDS)


@contextmanager
def without_log(settings: dict[str, str]) -> Iterator[Service]:
    """Serve the platform without its audit log."""
    port = free_port()
    fixed = {"FLASK_ENV": "production", "LOG_LEVEL": "ERROR"}
    with (
        TemporaryDirectory(prefix="bench-") as uploads,
        served(
            [sys.executable, "-m", "bench.unaudited", str(port)], {**settings, **fixed, "UPLOAD_DIR": uploads}
        ) as pid,
    ):
        service = Service("without the log", port, pid)
        service.wait_for("/api/health")
        account = {"username": USERNAME, "password": PASSWORD}
        yield replace(service, token=service.fetch("/api/auth/login", account)["data"]["access_token"])
