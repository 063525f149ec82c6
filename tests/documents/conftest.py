"""A copy of the program in which the commands of the documents are executed, as in a clone of the repository."""

import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

import config
from tests import backends
from tests.backends import Backend
from tests.documents.shell import path_with
from tests.server import free_port

LEFT_OUT = {".git", ".venv", ".env", "build", "console", "instance", "secrets"}


class Scratch(NamedTuple):
    folder: Path
    environ: dict[str, str]
    """Of a terminal: the program in development, on a database that is empty."""
    replaced: dict[str, str]
    """What the documents name and a test cannot have: ports."""
    databases: list[str]
    """URLs of the database in the environment, which is called itam, and of another one."""


@pytest.fixture
def scratch(backend: Backend, tmp_path: Path) -> Iterator[Scratch]:
    folder = tmp_path / "itam"
    shutil.copytree(config.ROOT, folder, ignore=left_out, symlinks=True)
    (folder / ".venv").symlink_to(sys.prefix)
    environ = {"PATH": path_with(folder), "HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}
    replaced = {port: str(free_port()) for port in ("5000", "5050", "9191", "9192")}
    environ["PORT"] = replaced["5000"]
    with ExitStack() as stack:
        databases = [f"sqlite:///instance/{name}.db" for name in ("itam", "other")]
        if backend.name == "postgresql":
            urls = [backends.own_url(secrets.token_hex(4)) for _ in databases]
            for url in urls:
                stack.enter_context(backends.database(url))
            databases = [url.render_as_string(hide_password=False) for url in urls]
            replaced["--replace itam"] = f"--replace {urls[0].database}"
            settings = backend.settings()
            environ |= {"REDIS_URL": backends.REDIS_URL, "REDIS_PREFIX": settings.REDIS_PREFIX, "WORKERS": "1"}
        environ["DATABASE_URL"] = databases[0]
        yield Scratch(folder, environ, replaced, databases)


def left_out(directory: str, names: list[str]) -> set[str]:
    """What is no part of a clone, and the sources of the console with their packages."""
    if Path(directory) != config.ROOT:
        return set()
    return {name for name in names if name in LEFT_OUT or name.endswith("_cache")}
