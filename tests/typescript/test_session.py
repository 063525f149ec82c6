"""A TypeScript client that is generated from openapi.json, compiled strictly, and run through a session."""

import shutil
import subprocess
from pathlib import Path

import pytest

import config
from app.core.http.access import Role
from tests.backends import LEFT_OUT, Backend, on_sqlite
from tests.client import PASSWORD
from tests.conftest import SignIn
from tests.server import served

HERE = Path(__file__).parent
CONSOLE = config.ROOT / "console"
OWN = ("client.ts", "session.ts", "tsconfig.json", "package.json", "package-lock.json", ".npmrc")
SESSION = [*(HERE / name for name in OWN), CONSOLE / "generate.mjs", CONSOLE / "src" / "api" / "query.ts"]
MINUTES = 10 * 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy with its packages installed, so that the checkout stays as it is."""
    if shutil.which("npm") is None:
        pytest.skip(f"{LEFT_OUT}Node.js is not there.")
    for source in SESSION:
        shutil.copy(source, tmp_path)
    installed = subprocess.run(["npm", "ci"], check=False, cwd=tmp_path, capture_output=True, timeout=MINUTES)
    if installed.returncode:
        pytest.skip(f"{LEFT_OUT}npm cannot install the packages of the TypeScript client.")
    return tmp_path


@on_sqlite
def test_a_generated_client_compiles_and_has_a_session(project: Path, backend: Backend, sign_in: SignIn) -> None:
    run(project, "node", "generate.mjs", str(config.ROOT / "openapi.json"), "schema.d.ts")
    run(project, "npx", "tsc", "-p", ".")
    admin = sign_in(role=Role.ADMIN).user
    with served(backend.settings()) as server:
        address = f"http://127.0.0.1:{server.port}"
        workbook = str(config.ROOT / "samples" / "fleet.xlsx")
        printed = run(project, "node", "built/session.js", address, admin.username, PASSWORD, workbook)
    assert printed.endswith(" servers\n")


def test_the_session_has_no_cast() -> None:
    source = (HERE / "session.ts").read_text()
    code = "\n".join(line for line in source.splitlines() if not line.startswith(("import ", "//")))
    assert " as " not in code
    assert ": any" not in code
    assert "@ts-" not in source


def run(folder: Path, *command: str) -> str:
    """What a command prints in a folder."""
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=MINUTES)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
