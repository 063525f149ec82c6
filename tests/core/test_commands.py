"""Commands of `flask` on a database that cannot be used: one sentence, and nothing is created."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app import create_app
from app.core.db.unit_of_work import db
from app.version import VERSION
from tests import backends
from tests.backends import on_postgresql, on_sqlite
from tests.conftest import BuildApp, close
from tests.threads import TIMEOUT_SECONDS

COMMANDS = (
    ["init-db"],
    ["create-admin", "name", "name@example.com", "--password", "a long enough password"],
    ["demo"],
    ["worker"],
    ["audit", "seal"],
    ["audit", "keys"],
    ["audit", "archive", "FOLDER"],
    ["audit", "prove", "1"],
    ["audit", "resume"],
    ["audit", "verify"],
    ["search", "rebuild"],
    ["counters", "verify"],
    ["counters", "rebuild"],
    ["storage", "copy", "FOLDER", "s3://bucket"],
    ["backup", "FOLDER"],
)
OTHERS = {"openapi", "version", "storage check", "restore"}
"""Commands that need no database, or make one."""


def problems(app: Flask, folder: Path) -> set[str]:
    """What all commands say; each fails and creates no folder."""
    said = set()
    for arguments in COMMANDS:
        result = app.test_cli_runner().invoke(
            args=[argument.replace("FOLDER", str(folder / "new")) for argument in arguments]
        )
        assert result.exit_code in (1, 2), (arguments, result.output)
        assert isinstance(result.exception, SystemExit), (arguments, result.exception)
        last = result.output.strip().splitlines()[-1]
        said.add(last.removeprefix("Error: ").removeprefix("This cannot be read: "))
    assert not (folder / "new").exists()
    return said


def names(group: click.Group) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from (f"{name} {below}" for below in names(command))
        else:
            yield name


def test_no_command_is_forgotten(other: Flask) -> None:
    ours = {name for name in names(other.cli) if not name.startswith("db ")}
    tried = {name for name in ours for words in COMMANDS if name in (words[0], " ".join(words[:2]))}
    assert ours - tried == OTHERS


@pytest.fixture
def other(tmp_path: Path) -> Flask:
    """An application on a file of SQLite that does not exist."""
    return create_app(backends.testing(f"sqlite:///{tmp_path}/x.db", None, tmp_path / "uploads", "itam-commands"))


def test_a_file_that_does_not_exist_is_not_created(other: Flask, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    sentence = f"There is no database at {path}: correct DATABASE_URL, or create it with `flask db upgrade`."
    assert problems(other, tmp_path) == {sentence}
    for command in ("current", "check", "history", "downgrade", "stamp"):
        other.test_cli_runner().invoke(args=["db", command])
        assert not path.exists(), command


def test_a_file_that_is_no_database(other: Flask, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"no database" * 1000)
    assert problems(other, tmp_path) == {f"{path} cannot be used as a database: file is not a database (DATABASE_URL)."}
    assert path.read_bytes() == b"no database" * 1000


def test_a_database_without_a_schema(other: Flask, tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    assert problems(other, tmp_path) == {"The database has no schema: run `flask db upgrade`."}
    close(other)


def test_a_schema_of_a_newer_version(app: Flask, tmp_path: Path) -> None:
    def set_revision(revision: str) -> str:
        with app.app_context(), db.engine.begin() as connection:
            before = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        return str(before)

    head = set_revision("9999")
    try:
        assert problems(app, tmp_path) == {
            (
                "The schema of the database (9999) is that of a newer version: run that version, "
                "or restore a backup of this one."
            )
        }
        migrated = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert isinstance(migrated.exception, SystemExit)
        assert migrated.exit_code == 1
    finally:
        set_revision(head)


@on_postgresql
def test_a_database_that_does_not_answer(build_app: BuildApp, tmp_path: Path) -> None:
    away = build_app(SQLALCHEMY_DATABASE_URI="postgresql+psycopg://postgres@127.0.0.1:1/test")
    (sentence,) = problems(away, tmp_path)
    assert sentence.startswith("The database does not answer: ")
    assert sentence.endswith("(DATABASE_URL).")


def flask(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flask", *arguments]
    env = {"FLASK_APP": "run", "FLASK_ENV": "testing", **environ}
    return subprocess.run(
        command, cwd=config.ROOT, env=env, capture_output=True, text=True, timeout=4 * TIMEOUT_SECONDS, check=False
    )


@on_sqlite
def test_migrations_of_a_file_that_is_no_database(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"no database" * 1000)
    migrated = flask(
        "db", "upgrade", DATABASE_URL=f"sqlite:///{path}", UPLOAD_DIR=str(tmp_path), AUDIT_CHECKPOINTS=str(tmp_path)
    )
    assert migrated.returncode == 1
    assert "Traceback" not in migrated.stderr
    assert f"Error: {path} cannot be used as a database: file is not a database (DATABASE_URL)." in migrated.stderr


@on_sqlite
def test_a_mistyped_folder_is_not_created(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "mistyped" / "x.db"
    migrated = flask("db", "upgrade", DATABASE_URL=f"sqlite:///{path}")
    assert migrated.returncode == 1
    assert f"must be in a directory that exists, but there is no {path.parent}" in migrated.stderr
    assert not path.parent.exists()


@on_sqlite
def test_flask_run_says_what_to_use(app: Flask) -> None:
    served = flask("run", "--port", "1")
    assert served.returncode == 1
    assert served.stderr.strip().endswith("start the platform with `python run.py`.")


def test_the_version_is_shown(app: Flask) -> None:
    assert app.test_cli_runner().invoke(args=["version"]).output.startswith(f"{VERSION} (schema 0")
