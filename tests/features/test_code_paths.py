"""How much of the code one request or one row runs through: a reader who follows it opens so many files.

Every file counts in which a function runs, in any thread and in the child process that reads a workbook: hooks of all
requests, listeners, and functions that SQLite calls too. The log is at the level of the tests: at INFO, which writes a
line for each request, its module is one more.
"""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from flask import Flask

import config
from app.core.jobs.runner import runner_of
from app.servers.models import Server
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import workbook

APP = config.ROOT / "app"
PATCH_FILES = 20
IMPORT_FILES = 62
ROW_FILES = 35
"""Of these files of an import, those that do more if the sheet has a row than if it has titles only."""
OF_BACKEND = (
    *("core/db/dialects/", "core/addresses.py"),
    *("core/cache/redis_client.py", "core/cache/numbered.py", "core/http/limits/shared_windows.py"),
    "core/jobs/pubsub.py",
)
"""Not counted: a reader opens those of one database. They are its dialect, and a function that SQLite calls in SQL; the
client of Redis, its windows of rate limits, and the announcement of jobs."""
COUNT_CALLS = """
import runpy, sys
from collections import Counter
calls = Counter()
def note(frame, event, _):
    if event == "call" and frame.f_code.co_flags & 2:
        calls[frame.f_code.co_filename, frame.f_code.co_qualname] += 1
sys.setprofile(note)
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    sys.setprofile(None)
    for (path, name), count in calls.items():
        print(path, name, count, sep="|", file=sys.stderr)
"""
"""Runs the child process of the sandbox, and prints to standard error the functions that it ran through.

Its imports run the bodies of modules and classes, which have no CO_NEWLOCALS (2).
"""

Calls = Counter[tuple[str, str]]
"""The number of calls of each function of the application, by its file and its name."""
Run = Callable[..., Calls]


@contextmanager
def counted() -> Iterator[Calls]:
    """Count the calls of any thread, warm and without imports."""
    calls: Calls = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(f"{APP}/"):
            calls[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def files_of(calls: Calls) -> set[str]:
    files = {str(Path(path).relative_to(APP)) for path, _ in calls}
    return {file for file in files if not file.startswith(OF_BACKEND)}


def test_a_patch_runs_through_few_files(app: Flask, admin: Client, make: Make) -> None:
    server = make(Server)
    address = f"/api/servers/{server.id}"
    # The first request of a process compiles statements.
    admin.call("PATCH", address, json={"name": "a"})
    with counted() as calls:
        app.test_client().patch(address, json={"name": "b"}, headers={"Authorization": f"Bearer {admin.token}"})
    files = files_of(calls)
    assert len(files) <= PATCH_FILES, "\n".join(sorted(files))


def test_a_spreadsheet_row_runs_through_few_files(admin: Client, run_import: Run) -> None:
    run_import(("first", "", 32))
    run_import()
    of_titles, of_row = run_import(), run_import(("second", "", 64))
    assert admin.call("GET", "/api/servers")["pagination"]["total"] == 2
    files, files_of_row = files_of(of_row), files_of(of_row - of_titles)
    assert len(files) <= IMPORT_FILES, "\n".join(sorted(files))
    assert len(files_of_row) <= ROW_FILES, "\n".join(sorted(files_of_row))
    assert "sheets/sandbox/workbook_program.py" in files_of_row


@pytest.fixture
def run_import(app: Flask, admin: Client, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Imports a sheet with these rows, and counts the calls from the upload to the applied plan."""
    headers = {"Authorization": f"Bearer {admin.token}"}
    calls_of_child: Calls = Counter()

    class CountedChild(subprocess.Popen[bytes]):
        def __init__(self, command: list[Any], **options: Any) -> None:
            python, isolated, program, *arguments = command
            self.error_path = Path(options["stderr"].name)
            super().__init__([python, isolated, "-c", COUNT_CALLS, program, *arguments], **options)

        def __exit__(self, *arguments: object) -> None:
            super().__exit__(*arguments)
            for line in self.error_path.read_text().splitlines():
                if line.startswith(f"{APP}/"):
                    path, name, count = line.split("|")
                    calls_of_child[path, name] += int(count)

    def run(*rows: tuple[Any, ...]) -> Calls:
        content = workbook(Servers=[("Name", "Datacenter", "CPU Cores"), *rows])
        form = {"apply": "true", "file": (BytesIO(content), "one.xlsx")}
        calls_of_child.clear()
        with counted() as calls:
            assert app.test_client().post("/api/imports", data=form, headers=headers).status_code == 202
            runner_of(app).run_pending()
        return calls + calls_of_child

    monkeypatch.setattr(subprocess, "Popen", CountedChild)
    return run
