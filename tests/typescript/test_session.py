"""A TypeScript client that is generated from openapi.json, compiled strictly, and run through a session."""

from pathlib import Path

import pytest

import config
from app.core.http.access import Role
from tests.backends import Backend, on_sqlite
from tests.client import PASSWORD
from tests.conftest import SignIn
from tests.server import served
from tests.typescript.projects import CONSOLE, code_of, install, run

HERE = Path(__file__).parent
OWN = ("client.ts", "session.ts", "tsconfig.json", "package.json", "package-lock.json", ".npmrc")
SESSION = [*(HERE / name for name in OWN), CONSOLE / "generate.mjs", CONSOLE / "src" / "api" / "query.ts"]
WORKBOOK = str(config.ROOT / "samples" / "fleet.xlsx")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    install(tmp_path, SESSION)
    return tmp_path


@on_sqlite
def test_a_generated_client_compiles_and_has_a_session(project: Path, backend: Backend, sign_in: SignIn) -> None:
    run(project, "node", "generate.mjs", str(config.ROOT / "openapi.json"), "schema.d.ts")
    run(project, "npx", "tsc", "-p", ".")
    admin = sign_in(role=Role.ADMIN).user
    with served(backend.settings()) as server:
        address = f"http://127.0.0.1:{server.port}"
        printed = run(project, "node", "built/session.js", address, admin.username, PASSWORD, WORKBOOK)
    assert printed.endswith(" servers\n")


def test_the_session_has_no_cast() -> None:
    code = code_of(HERE / "session.ts")
    assert " as " not in code
    assert ": any" not in code
    assert "@ts-" not in code
