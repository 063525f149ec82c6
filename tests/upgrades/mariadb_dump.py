"""A database of MariaDB as statements in a file, which a driver can execute as well as the server's own client."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from tests.mariadb import connect, run

END = "\n-- end of statement\n"
"""Between two statements: a trigger holds semicolons."""


def dump(url: sa.URL, path: Path) -> None:
    """Write all of a database, with its triggers."""
    place = [f"--host={url.host}", f"--port={url.port or 3306}", f"--user={url.username}"]
    options = [
        "--single-transaction",
        "--routines",
        "--skip-comments",
        "--skip-add-drop-table",
        "--skip-add-locks",
        "--hex-blob",
    ]
    dumped = subprocess.run(
        ["mariadb-dump", "--no-defaults", *place, *options, str(url.database)],
        env=os.environ | {"MYSQL_PWD": url.password or ""},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        encoding="utf-8",
    ).stdout
    # The default of an id names its sequence with that of the database.
    path.write_text(END.join(statements(dumped.replace(f"`{url.database}`.", ""))), encoding="utf-8")


def load(path: Path, url: sa.URL) -> None:
    """Execute what `dump` has written, on an empty database."""
    with closing(connect(url)) as server:
        run(server, f"USE `{url.database}`")
        for statement in path.read_text(encoding="utf-8").split(END):
            run(server, statement)


def statements(dumped: str) -> Iterator[str]:
    """The statements of a dump, whose lines DELIMITER say how they end."""
    delimiter = ";"
    lines: list[str] = []
    for line in dumped.splitlines():
        if line.startswith("DELIMITER "):
            delimiter = line.removeprefix("DELIMITER ")
            continue
        lines.append(line)
        if line.endswith(delimiter):
            yield "\n".join(lines).removesuffix(delimiter)
            lines.clear()
