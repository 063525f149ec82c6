"""The guide for developers: its commands, and its racks with a field, an action, a value and a job more."""

import re
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from tests.backends import on_postgresql
from tests.commands import flask
from tests.documents import racks
from tests.documents.blocks import commands_of
from tests.documents.conftest import Scratch
from tests.documents.shell import execute

PAGES = ("CONTRIBUTING.md",)

# The folders that the guide's commands test are there. Their tests are run by the suite, of which this is a part.
PYTEST = """
pytest() { for word in "$@"; do case $word in tests/*) test -e "$word" ;; esac; done; }
git init --quiet . && git add openapi.json
"""


@on_postgresql
def test_commands_and_racks(scratch: Scratch) -> None:
    root = scratch.folder
    racks.add_racks(root)
    url = sa.make_url(scratch.databases[0])
    server = f"{url.username}@{url.host}:{url.port or 5432}"
    replaced = {
        **scratch.replaced,
        # It is there already.
        "createdb -h 127.0.0.1 -U postgres itam": ":",
        "postgresql://postgres@127.0.0.1/itam": f"postgresql://{server}/{url.database}",
    }
    environ = {**scratch.environ, "DATABASE_URL": "sqlite:///instance/itam.db", "FLASK_DEBUG": "0"}
    del environ["REDIS_URL"], environ["WORKERS"]
    execute(commands_of(*PAGES), root, environ, replaced, {"make run": PYTEST})
    assert "racks" in (root / "openapi.json").read_text()
    assert (root / "migrations/versions/0002_racks.py").exists()

    environ["DATABASE_URL"] = scratch.databases[0]
    racks.add_field(root)
    racks.add_action(root)
    (root / "app/racks/jobs.py").write_text(racks.section("Adding a background job")[0].text, encoding="utf-8")
    flask(root, environ, ["db", "migrate", "-m", "height"], ["db", "revision", "-m", "planned racks"])
    assert "height" in (root / "migrations/versions/0003_height.py").read_text()
    racks.add_choice(root, root / "migrations/versions/0004_planned_racks.py")
    flask(root, environ, ["db", "upgrade"], ["db", "check"])
    assert_tests_pass(root)


def assert_tests_pass(root: Path) -> None:
    """The test of the action, its place in the table, and that all of it can be imported."""
    (root / "tests/features/racks/conftest.py").write_text("import app.racks.jobs\n")
    tests = ["tests/features/racks", "tests/contract/test_access_table.py::test_every_route_is_in_the_table"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "sqlite", *tests]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert re.search(r"^\.\. ", done.stdout), done.stdout[-3000:] + done.stderr[-1000:]
