"""The report of an import, compared to openpyxl loading and saving the same workbook without marks.

Both are measured in the same run, openpyxl in a process of its own. The report is measured from its first request to
the download: read the plan, mark the workbook in the sandbox, store the file.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from app.core.jobs.runner import runner_of
from bench.fleet import Fleet
from bench.imports import log_in
from bench.scratch import scratch

ROWS = 10_000
ROUNDS = 3
AIM = 0.5
"""A report may take this fraction of the time of openpyxl."""

RESAVE = """
import sys
from openpyxl import load_workbook
load_workbook(sys.argv[1]).save(sys.argv[2])
"""


def run(rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Print the medians of some rounds over a workbook of servers, each tenth with an error."""
    seconds_pairs = []
    with TemporaryDirectory(prefix="bench-") as directory, scratch() as database:
        path, copy = Path(directory, "fleet.xlsx"), Path(directory, "copy.xlsx")
        Fleet(servers=rows, gpus=0, containers=0, wrong_every=10).write(path)
        for _ in range(rounds):
            database.renew()
            client = log_in(database)
            with path.open("rb") as file:
                place = client.post("/api/imports", data={"file": (file, path.name)}).headers["Location"]
            runner_of(client.application).run_pending()
            began = time.perf_counter()
            answer = client.get(f"{place}/report.xlsx")
            if answer.status_code == 202:
                runner_of(client.application).run_pending()
                answer = client.get(f"{place}/report.xlsx")
            seconds = time.perf_counter() - began
            if answer.status_code != 200:
                sys.exit(f"The report failed: {answer.json}")
            began = time.perf_counter()
            subprocess.run([sys.executable, "-I", "-c", RESAVE, path, copy], check=True, env={})
            seconds_pairs.append((seconds, time.perf_counter() - began))
    made, limit = (median(pair[at] for pair in seconds_pairs) for at in (0, 1))
    ratio = median(pair[0] / pair[1] for pair in seconds_pairs)
    print(
        f"reports: {rows:,} servers with 15 columns, each tenth with an error, medians of {rounds} interleaved rounds"
    )
    print(f"  the marked workbook    {made:7.3f} s  aim: 5 s for 10,000 rows")
    print(f"  openpyxl               {limit:7.3f} s  loads and saves the same file")
    print(f"  made / openpyxl        {ratio:7.2f}    aim: at most {AIM:g}")
