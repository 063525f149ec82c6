"""After a clean stop the file of SQLite holds everything: who copies it copies no write-ahead log."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

import config
from tests.backends import REDIS_URL, Backend, Sqlite, on_sqlite
from tests.client import Client
from tests.server import environment, served
from tests.threads import TIMEOUT_SECONDS

pytestmark = on_sqlite


def names_in_copy(backend: Backend, directory: Path, table: str = "datacenters") -> set[str]:
    """The names in a copy of the database file alone."""
    assert isinstance(backend, Sqlite)
    column = "username" if table == "users" else "name"
    with closing(sqlite3.connect(shutil.copy(backend.path, directory))) as copy:
        return {name for (name,) in copy.execute(f"SELECT {column} FROM {table}")}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopped_server(admin: Client, backend: Backend, tmp_path: Path, workers: str) -> None:
    """Two workers need Redis, and job workers are processes then."""
    environ = {"WORKERS": workers} | ({"REDIS_URL": REDIS_URL, "JOB_WORKERS": "1"} if workers == "2" else {})
    written = {f"site {number}" for number in range(30)}
    with served(backend.settings(), **environ) as server:
        for name in written:
            assert server.call("POST", "/api/datacenters", admin.token, {"name": name}).status == 201
    assert names_in_copy(backend, tmp_path) == written


def test_stopped_job_worker(app: Flask, admin: Client, backend: Backend, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flask", "worker"]
    environ = {**environment(backend.settings()), "FLASK_APP": "run", "REDIS_URL": REDIS_URL}
    with subprocess.Popen(command, cwd=config.ROOT, env=environ, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "Carrying out jobs.\n"
        admin.call("POST", "/api/datacenters", json={"name": "site"}, expect=201)
        worker.terminate()
        assert worker.wait(TIMEOUT_SECONDS) == 0
    assert names_in_copy(backend, tmp_path) == {"site"}


def test_ended_command(app: Flask, admin: Client, backend: Backend, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flask", "create-admin", "newcomer", "newcomer@example.com"]
    environ = {**environment(backend.settings()), "FLASK_APP": "run"}
    subprocess.run([*command, "--password", "a long enough password"], cwd=config.ROOT, env=environ, check=True)
    assert "newcomer" in names_in_copy(backend, tmp_path, "users")
