"""How much of the code one request runs through: a reader who follows it opens so many files.

Every file counts in which a function runs, in any thread and in the child process that reads a workbook: hooks of all
requests, listeners, and functions that SQLite calls too. The log is at the level of the tests: at INFO, which writes a
line for each request, its module is one more.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from flask import Flask

import config
from app.core.jobs.runner import runner_of
from app.servers.models import Server
from tests.backends import Backend
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import workbook

APP = config.ROOT / "app"
PATCH_FILES = 21
ROW_FILES = 59
FILES_OF_BACKEND = {"sqlite": 5, "postgresql": 6}
"""Each has its dialect: connections, cursors and statements. SQLite calls functions of ours in SQL, and has its
queue of writers.

PostgreSQL is tried with Redis: its client, the announcement of jobs, and now and then the
windows of rate limits.
"""
RECORD_FILES = """
import runpy, sys
files = set()
sys.setprofile(lambda frame, *_: frame.f_code.co_flags & 2 and files.add(frame.f_code.co_filename))
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    print(*files, sep="\\n", file=sys.stderr)
"""
"""Runs the child process of the sandbox, and prints to standard error the files of functions that it ran through.

Its imports run the bodies of modules and classes, which have no CO_NEWLOCALS (2).
"""


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Collect the files of the application in which a function of any thread runs, warm and without imports."""
    files: set[str] = set()
    functions: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code not in functions:
            functions.add(frame.f_code)
            files.update(files_of_app([frame.f_code.co_filename]))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def files_of_app(paths: list[str]) -> set[str]:
    return {str(Path(path).relative_to(APP)) for path in paths if path.startswith(f"{APP}/")}


def test_a_patch_runs_through_few_files(app: Flask, backend: Backend, admin: Client, make: Make) -> None:
    server = make(Server)
    address = f"/api/servers/{server.id}"
    # The first request of a process compiles statements.
    admin.call("PATCH", address, json={"name": "a"})
    with recorded() as files:
        app.test_client().patch(address, json={"name": "b"}, headers={"Authorization": f"Bearer {admin.token}"})
    assert len(files) <= PATCH_FILES + FILES_OF_BACKEND[backend.name], "\n".join(sorted(files))


def test_a_spreadsheet_row_runs_through_few_files(
    app: Flask, backend: Backend, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Authorization": f"Bearer {admin.token}"}
    files_of_child: set[str] = set()

    def run(command: list[Any], **options: Any) -> subprocess.CompletedProcess[bytes]:
        python, isolated, program, *arguments = command
        ended = run_process([python, isolated, "-c", RECORD_FILES, program, *arguments], **options)
        options["stderr"].flush()
        files_of_child.update(files_of_app(Path(options["stderr"].name).read_text().splitlines()))
        return ended

    def import_row(name: str) -> None:
        content = workbook(Servers=[("Name", "Datacenter", "CPU Cores"), (name, "", 32)])
        form = {"apply": "true", "file": (BytesIO(content), "one.xlsx")}
        assert app.test_client().post("/api/imports", data=form, headers=headers).status_code == 202
        runner_of(app).run_pending()

    import_row("first")
    run_process = subprocess.run
    monkeypatch.setattr(subprocess, "run", run)
    with recorded() as files:
        import_row("second")
    assert files_of_child
    assert admin.call("GET", "/api/servers")["pagination"]["total"] == 2
    files |= files_of_child
    assert len(files) <= ROW_FILES + FILES_OF_BACKEND[backend.name], "\n".join(sorted(files))
