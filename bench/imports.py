"""An import from the upload to the applied plan, compared with parsing and a bulk write alone.

The limit is measured in the same run: python-calamine parses the same file in a child process, and COPY, on MariaDB
INSERTs of a thousand rows, writes the rows of the finished import into the same tables, with the same indexes and
constraints. The difference is what the import does besides: checks, the stored plan, an audit record for each row. On
MariaDB no triggers run meanwhile: what they fill is written with the rows. On PostgreSQL those of audit records rest.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from flask.testing import FlaskClient

from app.catalog import IMPORTABLE
from app.core.jobs.runner import runner_of
from bench.fleet import Fleet
from bench.scratch import PASSWORD, USERNAME, Scratch, Stored, scratch

ROUNDS = 5
MAX_RATIO = 4.0
"""An import may take this many times as long as the limit."""

PARSE = """
import sys
from python_calamine import CalamineWorkbook
with CalamineWorkbook.from_path(sys.argv[1]) as book:
    for name in book.sheet_names:
        for row in book.get_sheet_by_name(name).iter_rows():
            pass
"""


@dataclass(frozen=True)
class Round:
    """Seconds."""

    applied: float
    unchanged: float
    parsed: float
    written: float

    @property
    def ratio(self) -> float:
        return self.applied / (self.parsed + self.written)


def run(
    servers: int = Fleet().servers,
    gpus: int = Fleet().gpus,
    containers: int = Fleet().containers,
    workbook: Path | None = None,
    rounds: int = ROUNDS,
    database: str = "postgresql",
) -> None:
    """Print the medians of some rounds, of `workbook` or of a generated one with these numbers of objects."""
    with TemporaryDirectory(prefix="bench-") as directory, scratch(database) as created:
        path = workbook or Path(directory, "fleet.xlsx")
        if workbook is None:
            Fleet(servers, gpus, containers).write(path)
        results: list[Round] = []
        rows = 0
        for number in range(rounds):
            created.renew()
            client = log_in(created)
            if not number:
                reset_peak()
            applied, import_ = upload(client, path)
            if not number:
                peak = peak_megabytes()
                rows = import_["progress"]["total"]
            unchanged, import_ = upload(client, path)
            changed = sum(sheet["create"] + sheet["update"] for sheet in import_["sheets"])
            if changed:
                sys.exit(f"The second import of the same file changes {changed} rows.")
            stored = stored_rows(created)
            created.renew()
            results.append(Round(applied, unchanged, parse(path), created.write_rows(stored)))
    show(path.name, rows, results, peak, created)


def show(name: str, rows: int, rounds: list[Round], peak: float, database: Scratch) -> None:
    applied, unchanged, parsed, written, ratio = (
        median(getattr(one, what) for one in rounds) for what in ("applied", "unchanged", "parsed", "written", "ratio")
    )
    limit = median(one.parsed + one.written for one in rounds)
    print(f"imports: {name}, {rows:,} rows, {database.title}, medians of {len(rounds)} interleaved rounds")
    print(f"  upload to applied      {applied:7.3f} s  {rows / applied:9,.0f} rows/s")
    print(f"  the same, unchanged    {unchanged:7.3f} s  {rows / unchanged:9,.0f} rows/s")
    print(f"  limit                  {limit:7.3f} s  parsing {parsed:.3f} s, {database.bulk_write} {written:.3f} s")
    print(f"  applied / limit        {ratio:7.2f}    aim: at most {MAX_RATIO:g}")
    print(f"  peak memory            {peak:7.0f} MB")


def log_in(database: Scratch) -> FlaskClient:
    client = database.app.test_client()
    account = {"username": USERNAME, "password": PASSWORD}
    token = client.post("/api/auth/login", json=account).get_json()["data"]["access_token"]
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def upload(client: FlaskClient, path: Path) -> tuple[float, dict[str, Any]]:
    """The seconds from the upload to the applied plan, and the import as the API shows it."""
    began = time.perf_counter()
    with path.open("rb") as file:
        answer = client.post("/api/imports", data={"file": (file, path.name), "apply": "true"})
    runner_of(client.application).run_pending()
    seconds = time.perf_counter() - began
    import_ = client.get(answer.headers["Location"]).get_json()["data"]
    if import_["status"] != "applied":
        sys.exit(f"{path.name} was not applied: {import_['problem']}")
    return seconds, import_


def stored_rows(database: Scratch) -> list[Stored]:
    """The rows of all resources, each table after those that it refers to."""
    return database.stored_rows([resource.model.__table__ for resource in IMPORTABLE.values()])


def parse(path: Path) -> float:
    """The seconds in which a child process reads all cells and keeps none."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", PARSE, path], check=True, env={})
    return time.perf_counter() - began


def reset_peak() -> None:
    """Let `peak_megabytes` count from now on: the migrations take more memory than the import."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """The peak memory of this process since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
