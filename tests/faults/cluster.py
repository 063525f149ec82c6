"""A PostgreSQL server of a test's own, which it may stop, kill, fill and run out of connections."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from tests.backends import Missing
from tests.server import free_port

USER = "postgres"
APP_USER = "itam"
"""Owns the databases and has no further rights, as in an installation: it gets none of the reserved connections."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "deadlock_timeout": "50ms",
}


class Cluster:
    """A server with the databases `postgres`, which it has from the start, and those that a test creates."""

    def __init__(self, directory: Path, port: int, programs: Path) -> None:
        self.port = port
        self._data = directory / "data"
        self._socket = directory
        self._programs = programs

    def create(self) -> None:
        options = ("--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", *options)
        written = {**SETTINGS, "port": self.port, "unix_socket_directories": self._socket}
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in written.items())

    def start(self) -> None:
        # Without -l, the server would keep the pipe of the output open.
        self._run("pg_ctl", "start", "--wait", f"--log={self._data / 'log'}")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; at once and without a clean end, unless another mode of pg_ctl is named."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{APP_USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = USER) -> psycopg.Connection:
        """A connection in autocommit."""
        return psycopg.connect(f"postgresql://{user}@127.0.0.1:{self.port}/{database}", autocommit=True)

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """Create a database, and drop it at the end; yields its name."""
        name = f"own_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {APP_USER} {options}".encode())
        yield name
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def occupied(self, database: str) -> Iterator[None]:
        """Meanwhile others have all connections that APP_USER may have."""
        with ExitStack() as others:
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(self.connect(database, APP_USER))
            yield

    def count_other_sessions(self) -> int:
        """How many sessions of APP_USER there are that are not the application's."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{APP_USER}' AND application_name <> 'itam'"
        with self.connect() as connection:
            ((count,),) = connection.execute(query.encode()).fetchall()
            return int(count)

    @contextmanager
    def on_disk(self, disk: Path) -> Iterator[tuple["Cluster", str]]:
        """A server whose new databases are on this file system, with the option that puts them there."""
        directory = disk / "tablespace"
        directory.mkdir()
        give(directory, _owner())
        with self.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small OWNER {APP_USER} LOCATION '{directory}'".encode())
            yield self, "TABLESPACE small"
            connection.execute(b"DROP TABLESPACE small")

    @contextmanager
    def standby(self) -> Iterator["Cluster"]:
        """A server that replays what this one writes, as a copy by pg_basebackup begins it."""
        with directory_for(_owner()) as directory:
            standby = Cluster(directory, free_port(), self._programs)
            source = (f"--port={self.port}", "--host=127.0.0.1", f"--username={USER}")
            standby._run("pg_basebackup", *source, "--checkpoint=fast", "--write-recovery-conf", "--no-sync")
            with (standby._data / "postgresql.conf").open("a") as file:
                file.write(f"port = {standby.port}\nunix_socket_directories = '{directory}'\n")
            standby.start()
            try:
                yield standby
            finally:
                with suppress(subprocess.CalledProcessError):
                    standby.stop()

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, f"--pgdata={self._data}", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=_owner())


@contextmanager
def running() -> Iterator[Cluster]:
    """A server that runs at the beginning; raises Missing where PostgreSQL is not installed."""
    programs = _programs()
    with directory_for(_owner()) as directory:
        cluster = Cluster(directory, free_port(), programs)
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute(f"CREATE ROLE {APP_USER} LOGIN".encode())
        try:
            yield cluster
        finally:
            # A test may have left it stopped.
            with suppress(subprocess.CalledProcessError):
                cluster.stop()


@contextmanager
def directory_for(owner: str | None) -> Iterator[Path]:
    """A directory that belongs to the user whom a server runs as, where that is not the user of the tests."""
    # Not pytest's: a server that refuses to run as root could not enter it.
    directory = Path(tempfile.mkdtemp(prefix="itam-cluster-"))
    try:
        give(directory, owner)
        yield directory
    finally:
        shutil.rmtree(directory)


def give(directory: Path, owner: str | None) -> None:
    """Give a directory to a user, if there is one to give it to."""
    if owner is not None:
        shutil.chown(directory, owner, owner)


def _owner() -> str | None:
    return USER if os.getuid() == 0 else None


def _programs() -> Path:
    """The newest installed version's."""
    initdbs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not initdbs and on_path is None:
        raise Missing("PostgreSQL's programs are not installed here (initdb, pg_ctl)")
    return initdbs[-1].parent if initdbs else Path(str(on_path)).parent
