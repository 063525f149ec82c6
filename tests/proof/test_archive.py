"""Archives and proofs of single records: verified with the public key, without the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.datacenters.models import Datacenter
from app.proof import sealer
from app.proof.sealer import seal
from tests.factories import Make
from tests.proof.administrator import as_administrator


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["audit", *arguments])
    return result.exit_code, result.output


def public_key(app: Flask) -> str:
    return run(app, "keys")[1].splitlines()[0]


@pytest.fixture
def archived(app: Flask, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first six of nine sealed records, in checkpoints of three."""
    monkeypatch.setattr(sealer, "BATCH_RECORDS", 3)
    for _ in range(9):
        make(Datacenter)
    with app.app_context():
        seal()
    folder = tmp_path / "archive"
    assert run(app, "archive", str(folder), "--size", "8") == (0, f"Archived 6 records in {folder}.\n")
    return folder


def test_an_archive_is_verified_without_the_database(app: Flask, archived: Path) -> None:
    key = public_key(app)
    with as_administrator(app) as connection:
        for table in ("audit_logs", "audit_leaves", "audit_checkpoints"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    assert run(app, "verify", "--archive", str(archived), "--key", key)[0] == 0
    code, shown = run(app, "verify", "--archive", str(archived))
    assert (code, "--key" in shown) == (2, True)


def test_an_archive_leaves_the_log_as_it_is(app: Flask, archived: Path, make: Make) -> None:
    make(Datacenter)
    with app.app_context():
        seal()
    assert run(app, "verify")[0] == 0
    assert run(app, "archive", str(archived))[0] == 1, "It is not written over."
    assert run(app, "archive", str(archived / "whole"))[0] == 0
    assert run(app, "verify", "--archive", str(archived / "whole"), "--key", public_key(app))[0] == 0


def change(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


def without_line(path: Path, place: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[place]
    path.write_bytes(b"".join(lines))


def add_line(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{}\n")


def swap_lines(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


TOUCHED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "change": (lambda folder: change(folder / "records.ndjson", b"the tests", b"the texts"), "positions 0 to 2"),
    "delete": (lambda folder: without_line(folder / "records.ndjson", 4), "positions 5 to 5"),
    "swap": (lambda folder: swap_lines(folder / "records.ndjson"), "log_rewritten"),
    "insert": (lambda folder: add_line(folder / "records.ndjson"), "record_inserted"),
    "checkpoint": (lambda folder: change(folder / "checkpoints.jsonl", b"=", b"A"), "checkpoint_changed"),
    "later": (lambda folder: change(folder / "later.json", b'"proof":["', b'"proof":["AAAA'), "The continuation in"),
}


@pytest.mark.parametrize("name", TOUCHED)
def test_a_changed_archive_is_detected(app: Flask, archived: Path, name: str) -> None:
    touch, named = TOUCHED[name]
    touch(archived)
    code, shown = run(app, "verify", "--archive", str(archived), "--key", public_key(app))
    assert (code, named in shown) == (1, True), shown


def test_a_record_is_proved_by_itself(app: Flask, archived: Path, tmp_path: Path) -> None:
    key, path = public_key(app), tmp_path / "proof.json"
    for line in (archived / "records.ndjson").read_bytes().splitlines():
        record = orjson.loads(line)["id"]
        code, shown = run(app, "prove", str(record))
        assert code == 0
        path.write_text(shown)
        assert run(app, "verify", "--proof", str(path), "--key", key)[0] == 0
        path.write_text(shown.replace("the tests", "the texts"))
        assert run(app, "verify", "--proof", str(path), "--key", key)[0] == 1
    assert run(app, "prove", "987654")[0] == 1
    path.write_text("{}")
    assert run(app, "verify", "--proof", str(path), "--key", key)[0] == 2
