"""A Python client that is generated from openapi.json, type-checked, and run through a session."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import config
from app.core.http.access import Role
from tests.backends import LEFT_OUT, Backend, on_sqlite
from tests.client import PASSWORD
from tests.conftest import SignIn
from tests.server import served

HERE = Path(__file__).parent
MINUTES = 10 * 60


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The programs of an environment with the generator, which is none of ours."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "pip"), "install", "--quiet", "--requirement", str(HERE / "requirements.txt")]
    if subprocess.run(command, check=False, capture_output=True, timeout=MINUTES).returncode:
        pytest.skip(f"{LEFT_OUT}pip cannot install openapi-python-client.")
    return folder / "bin"


@on_sqlite
def test_a_generated_client_is_typed_and_has_a_session(
    tools: Path, tmp_path: Path, backend: Backend, sign_in: SignIn
) -> None:
    package, python = tmp_path / "itam_client", str(tools / "python")
    source, settings = str(config.ROOT / "openapi.json"), str(HERE / "generator.yaml")
    generate = ("generate", "--path", source, "--config", settings, "--meta", "none", "--output-path", str(package))
    printed = run(tmp_path, str(tools / "openapi-python-client"), *generate)
    assert "WARNING" not in printed, printed
    # A cast that is not needed is the generator's, and no fault of the types.
    strict = (
        "--strict",
        "--disable-error-code",
        "redundant-cast",
        "--config-file",
        os.devnull,
        "--python-executable",
        python,
    )
    session = str(HERE / "session.py")
    run(tmp_path, sys.executable, "-m", "mypy", *strict, session)
    admin = sign_in(role=Role.ADMIN).user
    with served(backend.settings()) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert run(tmp_path, python, session, address, admin.username, PASSWORD) == "done\n"


def run(folder: Path, *command: str) -> str:
    """What a command prints, with the modules of a folder."""
    path = {"PYTHONPATH": str(folder), "MYPYPATH": str(folder)}
    done = subprocess.run(
        command, check=False, cwd=folder, env={**os.environ, **path}, capture_output=True, text=True, timeout=MINUTES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
