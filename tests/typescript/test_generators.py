"""The TypeScript clients of hey-api and orval: generated, compiled strictly, and run through a session."""

from pathlib import Path

import pytest

import config
from app.core.http.access import Role
from tests.backends import Backend, on_sqlite
from tests.client import PASSWORD
from tests.conftest import SignIn
from tests.server import served
from tests.typescript.projects import CONSOLE, code_of, install, run
from tests.typescript.test_session import WORKBOOK

HERE = Path(__file__).parent / "generators"
OWN = [each for each in HERE.iterdir() if each.is_file() and each.name != ".gitignore"]
SESSIONS = ("hey", "orval-fetch", "orval-axios")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    install(tmp_path, [*OWN, CONSOLE / "src" / "api" / "query.ts", config.ROOT / "openapi.json"])
    return tmp_path


@on_sqlite
def test_generated_clients_compile_and_have_a_session(project: Path, backend: Backend, sign_in: SignIn) -> None:
    run(project, "npx", "openapi-ts")
    run(project, "npx", "orval")
    run(project, "npx", "tsc", "-p", ".")
    admin = sign_in(role=Role.ADMIN).user
    with served(backend.settings()) as server:
        address = f"http://127.0.0.1:{server.port}"
        for session in SESSIONS:
            printed = run(project, "node", f"built/{session}.js", address, admin.username, PASSWORD, WORKBOOK)
            assert printed.endswith("fleet.xlsx\n")


@pytest.mark.parametrize("session", SESSIONS)
def test_the_sessions_have_no_cast(session: str) -> None:
    code = code_of(HERE / f"{session}.ts")
    assert " as " not in code
    assert ": any" not in code
    assert "@ts-" not in code
