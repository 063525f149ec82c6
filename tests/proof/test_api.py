"""What administrators ask the API about the proof: how far the log is sealed, and the proof of one record."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.proof.sealer import seal
from tests.conftest import SignIn
from tests.factories import Make
from tests.proof.administrator import as_administrator


def test_the_state_of_the_seal_names_checkpoint_keys_and_what_waits(app: Flask, sign_in: SignIn, make: Make) -> None:
    admin = sign_in(role=Role.ADMIN)
    before = admin.call("GET", "/api/audit-logs/seal")["data"]
    assert before["checkpoint"] is None
    assert before["waiting"] > 0
    with app.app_context():
        sealed = seal()
    make(Datacenter)
    state = admin.call("GET", "/api/audit-logs/seal")["data"]
    assert (state["checkpoint"]["size"], state["waiting"]) == (sealed, 1)
    assert state["checkpoint"]["note"].startswith(state["keys"][0].split("+")[0])


def test_a_proof_of_one_record_verifies_without_the_database(
    app: Flask, sign_in: SignIn, make: Make, tmp_path: Path
) -> None:
    admin = sign_in(role=Role.ADMIN)
    datacenter = make(Datacenter)
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"resource_type": "datacenters"})["data"]
    path = f"/api/audit-logs/{record['id']}/proof"
    assert admin.call("GET", path, expect=409)["data"]["reason"] == "not_sealed"
    with app.app_context():
        seal()
    proof = admin.call("GET", path)["data"]
    assert json.loads(proof["record"])["resource_id"] == datacenter.id
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(proof))
    (key, *_) = admin.call("GET", "/api/audit-logs/seal")["data"]["keys"]
    verify = ["audit", "verify", "--proof", str(file), "--key", key]
    assert app.test_cli_runner().invoke(args=verify).exit_code == 0
    file.write_text(json.dumps({**proof, "record": proof["record"].replace("create", "delete")}))
    assert app.test_cli_runner().invoke(args=verify).exit_code == 1


def test_there_is_no_proof_of_a_record_that_does_not_exist(sign_in: SignIn) -> None:
    sign_in(role=Role.ADMIN).call("GET", "/api/audit-logs/999999/proof", expect=404)


@pytest.mark.usefixtures("origin_kept")
def test_a_log_that_has_lost_its_name_says_so(app: Flask, sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    with as_administrator(app) as connection:
        connection.execute(sa.text("DELETE FROM audit_origin"))
    assert admin.call("GET", "/api/audit-logs/seal", expect=503)["data"]["reason"] == "log_without_name"
