"""The states of released versions, kept for the tests of upgrades: `python -m tests.upgrades.releases`.

Run once for each release, with the code that is released; until then again whenever the schema changes (with `sqlite`,
`postgresql` or `mariadb` behind it, for that one alone). It writes
`states/<version>-<database>.tar.gz` for each kind of database: the database itself, its checkpoints, and a backup of
the sample estate after some changes, with the sealed log and the keys of the tests.
"""

import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import flask_migrate
import psycopg
import sqlalchemy as sa
from flask import Flask

from app import create_app
from app.core.db.schema import MIGRATIONS
from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.gpus.models import Gpu
from app.servers.models import Server
from app.users.models import User
from app.version import VERSION
from tests import backends, mariadb
from tests.conftest import close
from tests.factories import Make
from tests.spread import BACKENDS
from tests.upgrades import mariadb_dump

STATES = Path(__file__).parent / "states"
DUMP, DUMP_OF_MARIADB, FILE = "postgresql.sql", "mariadb.sql", "itam.db"


class State(NamedTuple):
    """A folder with the state of a release."""

    folder: Path

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    def put_in_place(self, app: Flask) -> None:
        """Make the database and the checkpoints of an application those of the release."""
        shutil.copytree(self.folder / "checkpoints", app.config["AUDIT_CHECKPOINTS"], dirs_exist_ok=True)
        url = sa.make_url(app.config["SQLALCHEMY_DATABASE_URI"])
        if url.drivername == "sqlite":
            shutil.copy(self.folder / FILE, str(url.database))
        elif url.get_backend_name() == "postgresql":
            with psycopg.connect(libpq_url(url), autocommit=True) as connection:
                connection.execute((self.folder / DUMP).read_bytes())
        else:
            mariadb_dump.load(self.folder / DUMP_OF_MARIADB, url)


def main(names: Iterable[str]) -> None:
    STATES.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory() as temporary, database(name, Path(temporary)) as url:
            folder = Path(temporary) / VERSION
            folder.mkdir()
            write_state(url, folder)
            path = STATES / f"{VERSION}-{name}.tar.gz"
            with tarfile.open(path, "w:gz") as archive:
                archive.add(folder, VERSION)
        sys.stdout.write(f"Wrote {path}.\n")


@contextmanager
def database(name: str, directory: Path) -> Iterator[sa.URL]:
    """A new database of this kind."""
    if name == "sqlite":
        yield sa.make_url(f"sqlite:///{directory / FILE}")
    else:
        server: Any = mariadb if name == "mariadb" else backends
        url = server.own_url(secrets.token_hex(4))
        with server.database(url):
            yield url


def write_state(url: sa.URL, folder: Path) -> None:
    settings = backends.testing(
        url.render_as_string(hide_password=False), None, folder.parent / "uploads", "itam-release"
    )
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
    fill(app)
    back_up(app, folder / "backup")
    shutil.copytree(app.config["AUDIT_CHECKPOINTS"], folder / "checkpoints")
    close(app)
    if url.drivername == "sqlite":
        shutil.copy(str(url.database), folder)
    elif url.get_backend_name() == "postgresql":
        dump(url, folder / DUMP)
    else:
        mariadb_dump.dump(url, folder / DUMP_OF_MARIADB)


def dump(url: sa.URL, path: Path) -> None:
    """Write SQL that any client can execute, without the commands of psql."""
    command = ["pg_dump", "--inserts", "--rows-per-insert=50", "--no-owner", "--no-privileges", libpq_url(url)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith((b"\\restrict ", b"\\unrestrict "))))


def libpq_url(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


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


def unpack(version: str, backend: str, directory: Path) -> State:
    """The state of a released version."""
    with closing(tarfile.open(STATES / f"{version}-{backend}.tar.gz")) as archive:
        archive.extractall(directory, filter="data")
    return State(directory / version)


def kept() -> list[str]:
    """The versions whose state is kept."""
    return sorted({path.name.rpartition("-")[0] for path in STATES.glob("*.tar.gz")})


if __name__ == "__main__":
    main(sys.argv[1:] or BACKENDS)
