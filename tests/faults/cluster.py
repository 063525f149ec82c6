"""A PostgreSQL server of a test's own, which it may stop, kill, fill and run out of connections."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    def standby(self) -> Iterator["Cluster"]:
        """A server that replays what this one writes, as a copy by pg_basebackup begins it."""
        with _directory() as directory:
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
    with _directory() as directory:
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
def _directory() -> Iterator[Path]:
    # Not pytest's: the server, which refuses to run as root, could not enter it.
    directory = Path(tempfile.mkdtemp(prefix="itam-cluster-"))
    try:
        give(directory)
        yield directory
    finally:
        shutil.rmtree(directory)


def give(directory: Path) -> None:
    """Give a directory to the user whom the server runs as."""
    if owner := _owner():
        shutil.chown(directory, owner, owner)


def _owner() -> str | None:
    return USER if os.getuid() == 0 else None


def _programs() -> Path:
    """The newest installed version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise Missing("PostgreSQL's programs are not installed here (initdb, pg_ctl)")
    return found[-1].parent if found else Path(str(on_path)).parent
