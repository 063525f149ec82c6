"""A MariaDB server of a test's own, with what tests/faults/cluster.py does with one of PostgreSQL."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pymysql

from tests import mariadb
from tests.backends import Missing
from tests.faults.cluster import APP_USER, directory_for
from tests.server import free_port

SETTINGS = {
    "bind-address": "127.0.0.1",
    "max-connections": "30",
    # As little as a killed server may lose: nothing that it has acknowledged.
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-doublewrite": "0",
    "innodb-log-file-size": "16M",
    "innodb-buffer-pool-size": "64M",
    "innodb-use-native-aio": "0",
    # A disk that is full is then full for the tables.
    "innodb-flush-method": "fsync",
}
START_SECONDS = 60


class MariadbServer:
    """A server that root may enter without a password, and APP_USER, which owns the databases."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.settings: dict[str, str] = {}
        """Further ones, from the next start on."""
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        options = [f"--{name}={value}" for name, value in SETTINGS.items() if name.startswith("innodb-")]
        command = ["mariadb-install-db", *self._options(), "--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        settings = {**SETTINGS, **self.settings, "port": self.port, "socket": self._directory / "socket"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(["mariadbd", *self._options(), *options], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(pymysql.err.OperationalError), closing(self.connect()):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: at once and without a clean end, unless another mode is named."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if mode == "immediate" else signal.SIGTERM)
            self._process.wait()
            self._process = None

    def url(self, database: str) -> str:
        return f"mariadb+pymysql://{APP_USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str | None = None, user: str = "root") -> pymysql.connections.Connection:
        """A connection in autocommit."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user=user, database=database, autocommit=True)

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """Create a database, and drop it at the end; yields its name."""
        name = f"own_{secrets.token_hex(4)}"
        with closing(self.connect()) as server:
            mariadb.run(server, f"CREATE DATABASE {name} {options}")
            mariadb.run(server, f"GRANT ALL ON {name}.* TO {APP_USER}@'127.0.0.1'")
        yield name
        with closing(self.connect()) as server:
            mariadb.run(server, f"DROP DATABASE {name}")

    @contextmanager
    def occupied(self, database: str) -> Iterator[None]:
        """Meanwhile others have all connections that APP_USER may have."""
        with ExitStack() as others:
            with suppress(pymysql.err.OperationalError):
                while True:
                    others.enter_context(closing(self.connect(database, APP_USER)))
            yield

    def count_other_sessions(self) -> int:
        """How many sessions of APP_USER there are: the application closes its own first."""
        query = "SELECT count(*) FROM information_schema.processlist WHERE user = %s"
        with closing(self.connect()) as server:
            return int(mariadb.run(server, query, APP_USER)[0][0])

    @contextmanager
    def on_disk(self, disk: Path) -> Iterator[tuple["MariadbServer", str]]:
        """A server that has all its files on this file system, and no option of its databases."""
        with running(disk) as server:
            yield server, ""

    def _options(self) -> list[str]:
        # Root has to be named: otherwise the server would not run as root.
        user = pwd.getpwuid(os.getuid()).pw_name
        return ["--no-defaults", f"--datadir={self._directory / 'data'}", f"--user={user}"]


@contextmanager
def running(directory: Path | None = None) -> Iterator[MariadbServer]:
    """A server that runs at the beginning; raises Missing where MariaDB is not installed."""
    if not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
        raise Missing("MariaDB's programs are not installed here (mariadbd, mariadb-install-db)")
    with ExitStack() as stack:
        server = MariadbServer(directory or stack.enter_context(directory_for(None)), free_port())
        server.create()
        server.start()
        with closing(server.connect()) as root:
            mariadb.run(root, f"CREATE USER {APP_USER}@'127.0.0.1'")
        try:
            yield server
        finally:
            server.stop()
