"""Verification by command and API: verdicts, doubts, and the range that is verified."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.datacenters.models import Datacenter
from app.proof import routes, sealer
from app.proof.sealer import checkpoint_log, seal
from tests.client import Client
from tests.factories import Make
from tests.proof.administrator import as_administrator


def sealed(app: Flask, make: Make, count: int) -> None:
    for _ in range(count):
        make(Datacenter)
    with app.app_context():
        seal()


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["audit", "verify", *arguments])
    return result.exit_code, result.output


def test_an_intact_log(app: Flask, make: Make, admin: Client) -> None:
    sealed(app, make, 3)
    make(Datacenter)
    # The admin was made and signed in.
    first = "Intact: 6 records, 1 of them not sealed yet, 1 checkpoints, 5 live rows.\n"
    assert run(app) == (0, first)
    assert orjson.loads(run(app, "--json")[1])["status"] == "intact"
    answer = admin.call("GET", "/api/audit-logs/verify")["data"]
    assert (answer["status"], answer["records"], answer["size"], answer["rows"]) == ("intact", 6, 5, 5)
    assert (answer["findings"], answer["doubts"], answer["from"]) == ([], [], 0)


def test_an_empty_log(app: Flask) -> None:
    assert run(app) == (0, "Intact: 0 records, 0 of them not sealed yet, 0 checkpoints, 0 live rows.\n")


def test_tampering_is_reported_with_its_position(app: Flask, make: Make, admin: Client) -> None:
    sealed(app, make, 3)
    with as_administrator(app) as connection:
        record = connection.scalar(sa.text("SELECT record_id FROM audit_leaves WHERE position = 1"))
        connection.execute(sa.text(f"UPDATE audit_logs SET username = 'nobody' WHERE id = {record}"))
    code, shown = run(app)
    assert code == 1
    message = "The record is not the one that was sealed."
    assert f"record_changed: record {record}, positions 1 to 1: {message}" in shown
    answer = admin.call("GET", "/api/audit-logs/verify")["data"]
    assert answer["status"] == "tampered"
    expected = {"kind": "record_changed", "record_id": record, "range": {"from": 1, "to": 1}, "message": message}
    assert answer["findings"][0] == expected | {"resource_type": None, "resource_id": None}


def test_without_the_checkpoint_file_it_is_undecided(app: Flask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "LATE_AFTER", timedelta(0))
    sealed(app, make, 1)
    with app.app_context():
        checkpoint_log().path.unlink()
    code, shown = run(app)
    assert code == 2
    assert "a rollback of the whole log" in shown


def test_without_the_key_it_is_undecided(app: Flask, make: Make, build_app: Any) -> None:
    sealed(app, make, 2)
    forgetful = build_app(AUDIT_KEY="another key of the audit log, 32 bytes")
    code, shown = run(forgetful)
    assert code == 2
    assert "AUDIT_KEYS_BEFORE" in shown


def test_checkpoints_of_another_log_are_undecided_unless_a_known_key_has_signed_them(
    app: Flask, make: Make, build_app: Any, origin_kept: None, tmp_path: Path
) -> None:
    """A file signed by a known key shows that the log was started anew, until the operator moves it away."""
    sealed(build_app(AUDIT_KEY="another key of the audit log, 32 bytes"), make, 1)
    with app.app_context():
        first = checkpoint_log().path
    with as_administrator(app) as connection:
        for table in ("audit_logs", "audit_leaves", "audit_checkpoints", "datacenters"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        connection.execute(sa.text("UPDATE audit_origin SET name = 'itam-audit-log/another'"))
    code, shown = run(app)
    assert (code, first.name in shown) == (2, True)
    later = build_app(AUDIT_KEYS_BEFORE=("another key of the audit log, 32 bytes",))
    code, shown = run(later)
    assert (code, f"move {first.name} out of" in shown) == (1, True)
    damaged = first.with_name("damaged.jsonl")
    damaged.write_text("nonsense\n")
    first.rename(tmp_path / first.name)
    assert run(later)[0] == 2
    damaged.unlink()
    assert run(later)[0] == 0


def test_keys_are_rotated_in_one_direction(app: Flask, make: Make, build_app: Any) -> None:
    """Records and checkpoints of both keys are valid; the old key after the new one is not."""
    sealed(app, make, 2)
    new = "another key of the audit log, 32 bytes"
    later = build_app(AUDIT_KEY=new, AUDIT_KEYS_BEFORE=(app.config["SECRET_KEY"],))
    sealed(later, Make(later), 2)
    assert run(later)[0] == 0
    assert run(build_app(AUDIT_KEY=new))[0] == 2
    # Another process still has the old key.
    sealed(later, Make(app), 2)
    assert run(later)[0] == 0
    back = build_app(AUDIT_KEYS_BEFORE=(new,))
    sealed(back, make, 1)
    assert run(later)[0] == 0, "The key before the current one signs along."


def test_a_request_verifies_the_newest_records_of_a_long_log(
    app: Flask, make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "NEWEST_RECORDS", 4)
    monkeypatch.setattr(sealer, "BATCH_RECORDS", 2)
    sealed(app, make, 10)
    answer = admin.call("GET", "/api/audit-logs/verify")["data"]
    assert (answer["status"], answer["from"], answer["size"], answer["records"]) == ("intact", 6, 12, 6)
    assert answer["rows"] is None
    with as_administrator(app) as connection:
        connection.execute(sa.text("UPDATE audit_logs SET username = 'nobody'"))
    answer = admin.call("GET", "/api/audit-logs/verify")["data"]
    assert (answer["status"], answer["count"]) == ("tampered", 6)


def test_verifying_changes_nothing_and_waits_for_no_writer(app: Flask, make: Make) -> None:
    sealed(app, make, 1)
    with as_administrator(app) as connection:
        # Somebody writes, and has not finished.
        connection.execute(sa.text("UPDATE datacenters SET location = 'elsewhere'"))
        assert run(app)[0] == 0
        connection.rollback()
