"""Projects of Node.js: copied, their packages installed, their programs run."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

import config
from tests.conftest import LEFT_OUT

CONSOLE = config.ROOT / "console"
MINUTES = 10 * 60


def install(folder: Path, sources: Iterable[Path]) -> None:
    """Copy the files of a project and install its packages, so that the checkout stays as it is."""
    if shutil.which("npm") is None:
        pytest.skip(f"{LEFT_OUT}Node.js is not there.")
    for source in sources:
        shutil.copy(source, folder)
    installed = subprocess.run(["npm", "ci"], check=False, cwd=folder, capture_output=True, timeout=MINUTES)
    if installed.returncode:
        pytest.skip(f"{LEFT_OUT}npm cannot install the packages of a TypeScript client.")


def run(folder: Path, *command: str) -> str:
    """What a command prints in a folder."""
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=MINUTES)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code_of(source: Path) -> str:
    """A source without its imports and comments."""
    lines = source.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith(("import ", "//")))
