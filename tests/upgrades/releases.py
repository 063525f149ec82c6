"""The state of a released version, kept for the tests of upgrades: `python -m tests.upgrades.releases`.

Run once for each release, with the code that is released. It writes `states/<version>.tar.gz`, a backup of the sample
estate after some changes, with its sealed log and the keys of the tests.
"""

import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import flask_migrate
from flask import Flask

from app import create_app
from app.core.db.schema import MIGRATIONS
from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.gpus.models import Gpu
from app.servers.models import Server
from app.users.models import User
from app.version import VERSION
from tests import backends
from tests.conftest import close
from tests.factories import Make

STATES = Path(__file__).parent / "states"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        app = create_app(backends.testing(f"sqlite:///{directory}/itam.db", None, directory / "uploads", "itam"))
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
        fill(app)
        back_up(app, directory / "backup")
        close(app)
        STATES.mkdir(exist_ok=True)
        path = STATES / f"{VERSION}.tar.gz"
        with tarfile.open(path, "x:gz") as archive:
            archive.add(directory / "backup", VERSION)
    sys.stdout.write(f"Wrote {path}.\n")


def fill(app: Flask) -> None:
    """Store the sample estate by an import, and objects of other kinds."""
    make = Make(app)
    make(User, role=Role.ADMIN)
    invoke(app, "demo")
    runner_of(app).run_pending()
    make(Gpu, full=True, server_id=make(Server, full=True).id)


def back_up(app: Flask, folder: Path) -> None:
    invoke(app, "audit", "seal")
    invoke(app, "backup", str(folder))


def invoke(app: Flask, *arguments: str) -> None:
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output


def unpack(version: str, directory: Path) -> Path:
    """The backup of a released version."""
    with closing(tarfile.open(STATES / f"{version}.tar.gz")) as archive:
        archive.extractall(directory, filter="data")
    return directory / version


def kept() -> list[str]:
    """The versions whose state is kept, the oldest first."""
    return sorted(path.name.removesuffix(".tar.gz") for path in STATES.glob("*.tar.gz"))


if __name__ == "__main__":
    main()
