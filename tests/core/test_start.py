"""What `python run.py` prints: the address, when a browser can open it; or why it cannot serve there."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask import Flask

import config
from tests.backends import REDIS_URL, Backend, on_sqlite
from tests.client import Client
from tests.server import environment, free_port
from tests.threads import TIMEOUT_SECONDS

pytestmark = on_sqlite

ONE = {"WORKERS": "1"}
SEVERAL = {"WORKERS": "2", "JOB_WORKERS": "1", "REDIS_URL": REDIS_URL}


@contextmanager
def started(backend: Backend, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, config.ROOT / "run.py"]
    environ = {**environment(backend.settings()), **environ}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    ("host", "environ", "printed"),
    [
        ("127.0.0.1", ONE, "Serving on http://127.0.0.1:{port}"),
        ("127.0.0.1", SEVERAL, "Serving on http://127.0.0.1:{port}"),
        ("0.0.0.0", ONE, "Serving on http://127.0.0.1:{port} and on every other address of this machine"),
    ],
    ids=["one worker", "several workers", "all addresses"],
)
def test_the_address_is_printed_once_the_server_answers(
    admin: Client, backend: Backend, host: str, environ: dict[str, str], printed: str
) -> None:
    port = free_port()
    with started(backend, HOST=host, PORT=str(port), **environ) as process:
        assert process.stdout is not None
        # A job worker says that it carries out jobs, earlier or later.
        assert next(line for line in process.stdout if "http" in line) == printed.format(port=port) + "\n"
        # One attempt, at the moment at which it is printed.
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/")
        page = connection.getresponse()
        assert (page.status, page.headers.get_content_type()) == (200, "text/html")
        connection.close()
        process.terminate()
        assert "Serving" not in process.stdout.read()  # once, and not by each worker


def test_a_taken_port_is_one_sentence(app: Flask, backend: Backend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(backend, PORT=str(port)) as process:
            printed, refused = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 1
    assert printed == ""
    assert refused == f"Cannot serve on http://127.0.0.1:{port}: another program serves there (HOST, PORT).\n"


WORKER_AT_ITS_END = """
import sys, threading, time
from app.sheets.writers import OutputColumn, OutputSheet, write_workbook
from pathlib import Path
from app.core.process_end import at_process_end, end_at_once

at_process_end(end_at_once, last=True)
writing = threading.Event()

def items():
    while True:
        yield {"name": "n1"}
        writing.set()
        time.sleep(0.001)

sheet = OutputSheet("Servers", [OutputColumn("Name", lambda item: item["name"])], items())
threading.Thread(target=write_workbook, args=(Path(sys.argv[1]), [sheet]), daemon=True).start()
writing.wait()
"""


def test_a_worker_ends_cleanly_while_a_thread_writes_a_workbook(backend: Backend, tmp_path: Path) -> None:
    """Finalising the interpreter would end the thread within frames of Rust, and with it abort the process."""
    command = [sys.executable, "-c", WORKER_AT_ITS_END, str(tmp_path / "export.xlsx")]
    ended = subprocess.run(
        command, cwd=config.ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


WORKER = """
import sys
import run

run.create_app(run.settings())
print({"alembic", "flask_migrate"} & set(sys.modules))
"""


def test_a_worker_does_not_load_alembic(backend: Backend) -> None:
    """It would hold 9 MB that no request and no job needs."""
    worker = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=config.ROOT,
        env=environment(backend.settings()),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (worker.stdout, worker.stderr) == ("set()\n", "")
