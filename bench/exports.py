"""All servers as a file of each format, beside the least that each could cost.

The limit is measured in the same run, in a process of its own: one SELECT of the same rows, and the same writer, the
csv module or orjson, which write its values with no further thought.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.imports import log_in, peak_megabytes, reset_peak
from bench.scratch import Scratch, plain, scratch

ROWS = 100_000
ROUNDS = 3
AIM = 2.5
"""An export may take this many times what the limit takes."""
FORMATS = ("xlsx", "csv", "json")

LIMIT = """
import csv, sys
import orjson, psycopg
from rustpy_xlsxwriter import write_worksheet
url, kind, path = sys.argv[1:]
with psycopg.connect(url) as connection, connection.cursor("rows") as cursor:
    cursor.itersize = 1000
    cursor.execute("SELECT * FROM servers ORDER BY id")
    if kind == "xlsx":
        titles = [column.name for column in cursor.description]
        write_worksheet((dict(zip(titles, row)) for row in cursor), path)
    elif kind == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(cursor)
    else:
        with open(path, "wb") as file:
            for row in cursor:
                file.write(orjson.dumps(row, default=str))
"""

FILL = """
INSERT INTO servers (version, name, hostname, server_type, status, rack, rack_unit, internal_ip, manufacturer, model,
    serial_number, asset_tag, os, cpu_model, cpu_cores, memory_gb, disk_gb, purchase_date, warranty_expires, owner,
    tags, attributes, created_at, updated_at)
SELECT 1, 'node-' || n, 'node-' || n || '.example.com', 'physical', 'active', 'R' || n / 40, mod(n, 40),
    '10.' || n / 65536 || '.' || mod(n / 256, 256) || '.' || mod(n, 256), 'Dell', 'R750', 'SN' || n, 'T' || n, 'Debian',
    'Xeon 8269', 64, 512.5, 1920, date '2024-01-31', date '2027-01-31', 'team-' || mod(n, 20), '["web", "gpu"]',
    '{"qos": "LS", "gpu_count": 8}', now(), now()
FROM generate_series(1, %s) AS n
"""


def run(rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Print the medians of some rounds over made-up servers with 26 filled columns."""
    print(f"exports: {rows:,} servers, PostgreSQL, medians of {rounds} interleaved rounds")
    with TemporaryDirectory(prefix="bench-") as directory, scratch() as database:
        database.allow_unrecorded()
        with database.connect() as connection:
            connection.execute(FILL, (rows,))
        client = log_in(database)
        for kind in FORMATS:
            pairs = []
            reset_peak()
            used = -time.process_time()
            limits_used = 0.0
            for _ in range(rounds):
                began = time.perf_counter()
                answer = client.get(f"/api/servers/export?format={kind}")
                size = sum(map(len, answer.iter_encoded()))
                answer.close()
                made = time.perf_counter() - began
                if answer.status_code != 200 or not size:
                    sys.exit(f"The export failed: {answer.json}")
                limits_used -= time.process_time()
                pairs.append((made, limit(database, kind, Path(directory, kind))))
                limits_used += time.process_time()
            used += time.process_time() - limits_used
            made, least = (median(pair[at] for pair in pairs) for at in (0, 1))
            ratio = median(pair[0] / pair[1] for pair in pairs)
            print(
                f"  {kind:5}  {made:7.3f} s  limit {least:7.3f} s  made / limit {ratio:5.2f}  "
                f"{used / rounds:6.3f} s of processor, peak {peak_megabytes():4.0f} MB, file {size / 2**20:5.1f} MB"
            )
        print(f"  aim: made / limit at most {AIM:g}, xlsx of 100,000 in 12 s and 200 MB")


def limit(database: Scratch, kind: str, path: Path) -> float:
    """The seconds in which a process of its own writes the same rows."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", LIMIT, plain(database.url), kind, path], check=True, env={})
    return time.perf_counter() - began
