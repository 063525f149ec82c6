"""The sample estate: for an empty installation, and gone with one undo."""

from io import BytesIO

from flask import Flask

from app.catalog import IMPORTABLE
from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.servers.models import Server
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make


def totals(admin: Client) -> dict[str, int]:
    return {name: admin.call("GET", f"/api/{name}")["pagination"]["total"] for name in IMPORTABLE}


def test_the_sample_estate_comes_whole_and_goes_whole(app: Flask, sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    before = totals(admin)
    import_id = admin.call("POST", "/api/demo", expect=202)["data"]["import_id"]
    runner_of(app).run_pending()
    imported = admin.call("GET", f"/api/imports/{import_id}")["data"]
    assert (imported["status"], imported["problem"]) == ("applied", None)
    assert [sheet["sheet_warnings"] for sheet in imported["sheets"] if sheet["sheet_warnings"]] == []
    there = totals(admin)
    assert (there["datacenters"], there["servers"], there["gpus"]) == (2, 24, 64)
    assert all(there[name] > before[name] for name in IMPORTABLE if name != "environments")
    admin.call("POST", f"/api/imports/{import_id}/revert")
    assert totals(admin) == before


def test_it_is_for_empty_installations_and_administrators(app: Flask, sign_in: SignIn, make: Make) -> None:
    sign_in().call("POST", "/api/demo", expect=403)
    make(Server)
    refusal = sign_in(role=Role.ADMIN).call("POST", "/api/demo", expect=409)
    assert refusal["data"]["reason"] == "not_empty"
    command = app.test_cli_runner().invoke(args=["demo"])
    assert command.exit_code == 1
    assert "this one has servers already" in command.output


def test_it_is_not_imported_twice(app: Flask, sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    admin.call("POST", "/api/demo", expect=202)
    refusal = admin.call("POST", "/api/demo", expect=409)
    assert refusal["data"]["reason"] == "under_way"
    assert "being imported already" in app.test_cli_runner().invoke(args=["demo"]).output


def test_a_file_of_its_name_is_not_taken_for_it(app: Flask, sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    sample = admin.call("POST", "/api/demo", expect=202)["data"]["import_id"]
    runner_of(app).run_pending()
    name = admin.call("GET", f"/api/imports/{sample}")["data"]["filename"]
    file = {"file": (BytesIO(b"Name\nweb-1\n"), name.replace(".xlsx", ".csv")), "resource": "servers"}
    own = admin.call("POST", "/api/imports", data=file, expect=202)["data"]
    assert own["is_sample"] is False
    listed = admin.call("GET", "/api/imports?is_sample=true")["data"]
    assert [import_["id"] for import_ in listed] == [sample]


def test_the_command_queues_the_same(app: Flask, sign_in: SignIn) -> None:
    admin = sign_in(role=Role.ADMIN)
    command = app.test_cli_runner().invoke(args=["demo"])
    assert command.exit_code == 0, command.output
    runner_of(app).run_pending()
    assert totals(admin)["servers"] == 24
