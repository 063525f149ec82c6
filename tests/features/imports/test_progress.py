"""Progress of an import, also while one transaction does all the work."""

from io import BytesIO
from typing import Any

import pytest
from flask import Flask

from app.imports import models, pipeline
from app.imports.models import Progress
from app.resource.bulk import writer
from app.sheets.sandbox import runner
from tests.client import Body, Client
from tests.features.conftest import Upload, apply, workbook
from tests.features.imports.test_import import FLEET
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database


def test_progress_is_shown_before_the_transaction_commits(
    admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = upload(admin, **FLEET)
    path = f"/api/imports/{plan['id']}"
    seen: list[tuple[Body, int]] = []
    write = writer.write_creations

    def look() -> tuple[Body, int]:
        return admin.call("GET", path)["data"], admin.call("GET", "/api/servers")["pagination"]["total"]

    def write_and_look(creations: writer.Creations) -> None:
        write(creations)
        seen.extend(run_concurrently([look]))

    monkeypatch.setattr(models, "UPDATE_SECONDS", 0.0)
    monkeypatch.setattr(writer, "write_creations", write_and_look)
    done = apply(admin, plan)
    shown = [(import_["status"], import_["progress"]["phase"], import_["progress"]["done"]) for import_, _ in seen]
    assert shown == [("applying", "applying", done) for done in (0, 1, 3, 5, 7)]
    assert {import_["progress"]["total"] for import_, _ in seen} == {9}
    assert {total for _, total in seen} == {0}
    last = seen[-1][0]["progress"]
    assert last["rows_per_second"] > 0
    assert last["seconds_left"] >= 0
    assert done["progress"] == {
        "phase": "done", "label": "Done", "done": 9, "total": 9, "rows_per_second": None, "seconds_left": None,
    }  # fmt: skip


def test_progress_is_shown_while_the_file_is_read(
    admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Body] = []
    reach = Progress.reach

    def look() -> Body:
        return admin.call("GET", "/api/imports")["data"][0]["progress"]

    def reach_and_look(progress: Progress, done: int, total: int) -> None:
        reach(progress, done, total)
        seen.extend(run_concurrently([look]))

    monkeypatch.setattr(models, "UPDATE_SECONDS", 0.0)
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(Progress, "reach", reach_and_look)
    plan = upload(admin, Servers=[("Name",), *((f"n{number}",) for number in range(30))])
    read = [(shown["done"], shown["total"]) for shown in seen if shown["phase"] == "reading"]
    assert (read[0], read[-1]) == ((0, 31), (31, 31))
    planned = [(shown["done"], shown["total"]) for shown in seen if shown["phase"] == "planning"]
    assert planned[-1] == (30, 30)
    assert plan["progress"]["total"] == 30


def test_others_write_while_new_objects_are_prepared(
    admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their ids are reserved by then."""
    plan = upload(admin, **FLEET)
    write_plan = pipeline._apply

    def create() -> Body:
        return admin.call("POST", "/api/servers", expect=201, json={"name": "meanwhile"})["data"]

    def write_after_others(*arguments: Any) -> Any:
        created.extend(run_concurrently([create]))
        return write_plan(*arguments)

    created: list[Body] = []
    monkeypatch.setattr(pipeline, "_apply", write_after_others)
    assert apply(admin, plan)["status"] == "applied"
    ids = [server["id"] for server in admin.call("GET", "/api/servers?page_size=100")["data"]]
    (planned,) = (sheet["create"] for sheet in plan["sheets"] if sheet["resource"] == "servers")
    assert len(ids) == len(set(ids)) == planned + 1
    assert created[0]["id"] in ids


def test_polling_is_a_304_and_says_when_to_ask_again(admin: Client) -> None:
    started = admin.send("POST", "/api/imports", expect=202, data={"file": _file()})
    path = started.headers["Location"]
    first = admin.send("GET", path)
    assert first.headers["Retry-After"] == "1"
    again = admin.send("GET", path, expect=304, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.data, again.headers["Retry-After"]) == (b"", "1")


def _file() -> Any:
    return BytesIO(workbook(Servers=[("Name",), ("n1",)])), "fleet.xlsx"


def test_what_was_asked_of_another_import_with_its_id_is_forgotten(app: Flask, admin: Client, upload: Upload) -> None:
    """The cache may know imports of a database that was replaced, such as by an empty one."""
    first = upload(admin, Servers=[("Name",), ("n1",)])
    with app.app_context():
        models.request_stop(first["id"] + 1)
    second = upload(admin, Servers=[("Name",), ("n2",)])
    assert (second["id"], second["status"]) == (first["id"] + 1, "ready")
