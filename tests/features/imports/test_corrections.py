"""Correct how a stored file is understood, and plan it again without a second upload."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.jobs.runner import runner_of
from app.imports import pipeline
from app.imports.models import Import
from app.imports.plan import stored_objects
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make
from tests.features.conftest import Upload, apply, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database

CMDB: list[tuple[Any, ...]] = [
    ("Hostname", "Familia", "Estado", "Entorno", "Sitio"),
    ("srv01", "Windows", "Activo", "Producción", "Madrid"),
    ("srv02", "Linux", "Inactivo", "Pruebas", "Madrid"),
]


def correct(client: Client, import_: Body, expect: int = 202, **patch: Any) -> Body:
    """Change the settings of an import and plan it; returns the import, or the refusal."""
    answer = client.call("PATCH", f"/api/imports/{import_['id']}", expect=expect, json=patch)
    if expect >= 400:
        return answer
    assert answer["data"]["status"] == "queued"
    runner_of(client.app).run_pending()
    return client.call("GET", f"/api/imports/{import_['id']}")["data"]  # type: ignore[no-any-return]


def test_a_foreign_list_goes_in_with_one_upload_and_one_correction(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, INVENTARIO=CMDB)
    sheet = {
        "resource": "servers",
        "columns": {"A": "name", "B": "attributes.os_family", "C": "status", "D": "environment", "E": "datacenter"},
        "values": {
            "status": {"activo": "active", "Inactivo": "offline"},
            "environment": {"Producción": "production"},
        },
        "constants": {"owner": "IT"},
    }
    done = correct(
        admin,
        import_,
        create_missing=["datacenters", "environments"],
        sheets={"INVENTARIO": sheet},
        apply=True,
    )
    assert (done["status"], done["revision"], done["problem"]) == ("applied", 2, None)
    one, two = admin.call("GET", "/api/servers?sort=name")["data"]
    assert (one["status"], one["environment"]["name"], one["datacenter"]["name"]) == ("active", "production", "Madrid")
    assert (two["status"], two["environment"]["name"], two["owner"]) == ("offline", "Pruebas", "IT")
    assert one["attributes"] == {"os_family": "Windows"}
    assert [row["name"] for row in admin.call("GET", "/api/datacenters")["data"]] == ["Madrid"]
    reverted = admin.call("POST", f"/api/imports/{import_['id']}/revert")["data"]
    assert reverted["reversal"]["removed"] == {"servers": 2, "datacenters": 1, "environments": 2}
    assert admin.call("GET", "/api/datacenters")["data"] == []


def test_what_is_set_and_what_is_guessed_are_shown_apart(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Rak", "Colour"), ("a", "R1", "red"), ("b", "R2", "red")])
    columns = {column["column"]: column for column in import_["sheets"][0]["columns"]}
    assert (columns["A"]["certainty"], columns["A"]["samples"]) == ("exact", ["a", "b"])
    assert (columns["B"]["certainty"], columns["B"]["alternatives"][0]) == ("none", "rack")
    assert columns["C"]["samples"] == ["red"]
    assert "rack" in import_["sheets"][0]["choices"]
    assert "created_at" not in import_["sheets"][0]["choices"]
    assert (import_["revision"], import_["settings"]) == (1, {})
    again = correct(admin, import_, sheets={"Servers": {"columns": {"B": "rack"}}})
    assert again["settings"] == {"sheets": {"Servers": {"columns": {"B": "rack"}}}}
    (column,) = [column for column in again["sheets"][0]["columns"] if column["column"] == "B"]
    assert (column["field"], column["certainty"]) == ("rack", "set")
    taken_back = correct(admin, again, sheets={"Servers": {"columns": {"B": None, "C": "ignore"}}})
    assert taken_back["settings"] == {"sheets": {"Servers": {"columns": {"C": "ignore"}}}}
    assert taken_back["sheets"][0]["columns"][2]["use"] == "ignored"


def test_header_and_last_row_and_skipped_rows_are_set(admin: Client, upload: Upload) -> None:
    rows = [("Name", "Rack"), ("Server", "Rack no."), ("a", "R1"), ("b", "R2"), ("c", "R3"), ("Total", 3)]
    import_ = upload(admin, Servers=rows)
    settings = {"header_row": 2, "last_row": 5, "skip_rows": [4], "columns": {"A": "name", "B": "rack"}}
    import_ = correct(admin, import_, sheets={"Servers": settings})
    assert [(row["row"], row["changes"]["name"]["new"]) for row in rows_of(admin, import_)] == [(3, "a"), (5, "c")]
    assert import_["sheets"][0]["notes"] == [
        "Left out because they are above the titles: row 1.",
        "Left out because they are below the last row, as it was set: row 6.",
        "Skipped as it was set: row 4.",
    ]
    import_ = correct(admin, import_, sheets={"Servers": {"last_row": 6, "skip_rows": None}})
    assert [row["row"] for row in rows_of(admin, import_)] == [3, 4, 5, 6]


def test_a_sheet_is_skipped_and_taken_up_again(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name",), ("a",)], Assets=[("Name", "Asset type"), ("b", "nonsense")])
    assert import_["status"] == "invalid"
    import_ = correct(admin, import_, sheets={"Assets": {"skip": True}})
    assert import_["status"] == "ready"
    (skipped,) = [sheet for sheet in import_["sheets"] if sheet["sheet"] == "Assets"]
    assert (skipped["skipped"], skipped["notes"]) == (True, ["The sheet is skipped, as it was set."])
    values = {"asset_type": {"nonsense": "other"}}
    import_ = correct(admin, import_, sheets={"Assets": {"skip": None, "values": values}})
    assert (import_["status"], len(rows_of(admin, import_))) == ("ready", 2)


def test_rows_find_their_objects_by_an_attribute(admin: Client, upload: Upload) -> None:
    first = upload(admin, form={"apply": "true"}, Servers=[("Name", "CMDB id"), ("old-1", 7), ("old-2", "x8")])
    assert first["status"] == "applied"
    import_ = upload(admin, Servers=[("Name", "CMDB id"), ("new-1", "7"), ("new-2", "X8"), ("new-3", None)])
    assert {row["action"] for row in rows_of(admin, import_)} == {"create"}
    import_ = correct(admin, import_, sheets={"Servers": {"match": ["attributes.cmdb_id"]}})
    assert [row["action"] for row in rows_of(admin, import_)] == ["update", "update", "create"]
    import_ = correct(admin, import_, sheets={"Servers": {"match": ["datacenter", "rack"]}})
    assert {row["action"] for row in rows_of(admin, import_)} == {"create"}


def test_the_unit_of_a_title_counts_for_a_column_that_is_set(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "RAM installed (MB)"), ("a", 65536)])
    import_ = correct(admin, import_, sheets={"Servers": {"columns": {"B": "memory_gb"}}})
    assert rows_of(admin, import_)[0]["changes"]["memory_gb"]["new"] == 64


def test_settings_of_fields_go_with_the_resource(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Rack"), ("a", "R1")])
    import_ = correct(admin, import_, sheets={"Servers": {"constants": {"rack": "R9"}, "last_row": 2}})
    sheet = {"resource": "assets", "constants": {"asset_type": "other"}}
    import_ = correct(admin, import_, sheets={"Servers": sheet})
    assert import_["settings"]["sheets"]["Servers"] == {**sheet, "last_row": 2}
    assert rows_of(admin, import_)[0]["resource"] == "assets"


def test_of_two_corrections_of_one_revision_the_second_is_refused(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Place"), ("a", "R1")])
    address = f"/api/imports/{import_['id']}"
    tag = admin.send("GET", address).headers["ETag"]
    correct(admin, import_, revision=1, sheets={"Servers": {"columns": {"B": "rack"}}})
    refused = correct(admin, import_, 412, revision=1, sheets={"Servers": {"columns": {"B": "owner"}}})
    assert refused["data"]["reason"] == "version_mismatch"
    assert refused["data"]["current"]["settings"]["sheets"]["Servers"]["columns"] == {"B": "rack"}
    admin.call("PATCH", address, expect=412, json={}, headers={"If-Match": tag})
    admin.call("POST", f"{address}/apply", expect=412, json={"revision": 1})
    tag = admin.send("GET", address).headers["ETag"]
    admin.call("PATCH", address, expect=202, json={}, headers={"If-Match": tag})


def test_a_correction_waits_for_the_plan_and_ends_with_the_application(
    app: Flask, admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[("Name",), ("a",)])
    address = f"/api/imports/{import_['id']}"
    admin.call("PATCH", address, expect=202, json={})
    assert admin.call("GET", f"{address}/rows")["data"] == []
    assert admin.call("PATCH", address, expect=409, json={})["data"]["reason"] == "not_correctable"
    admin.call("POST", f"{address}/apply", expect=409, json={})
    runner_of(app).run_pending()
    assert apply(admin, import_)["status"] == "applied"
    assert admin.call("PATCH", address, expect=409, json={})["data"]["reason"] == "not_correctable"


def test_a_plan_that_is_out_of_date_is_made_again(admin: Client, upload: Upload) -> None:
    server = admin.call("POST", "/api/servers", expect=201, json={"name": "a"})["data"]
    import_ = upload(admin, Servers=[("Name", "Rack"), ("a", "R1")])
    admin.call("PATCH", f"/api/servers/{server['id']}", json={"owner": "x"})
    assert apply(admin, import_, expect=409)["data"]["reason"] == "out_of_date"
    import_ = correct(admin, import_)
    assert apply(admin, import_)["status"] == "applied"


def test_another_user_does_not_correct_an_import(user: Client, other: Client, upload: Upload) -> None:
    import_ = upload(user, Servers=[("Name",), ("a",)])
    correct(other, import_, 404)


@pytest.mark.parametrize(
    ("sheet", "field"),
    [
        ({"resource": "nothing"}, "sheets.Servers.resource"),
        ({"columns": {"B": "rak"}}, "sheets.Servers.columns.B"),
        ({"columns": {"B": "created_at"}}, "sheets.Servers.columns.B"),
        ({"columns": {"B": "attributes."}}, "sheets.Servers.columns.B"),
        ({"columns": {"C": "rack"}}, "sheets.Servers.columns.C"),
        ({"columns": {"A": "rack", "B": "rack"}}, "sheets.Servers.columns.B"),
        ({"columns": {"b": "rack"}}, "sheets.Servers.columns.b"),
        ({"header_row": 3}, "sheets.Servers.header_row"),
        ({"header_row": 0}, "sheets.Servers.header_row"),
        ({"last_row": 1}, "sheets.Servers.last_row"),
        ({"last_row": 9}, "sheets.Servers.last_row"),
        ({"skip_rows": [2, 3]}, "sheets.Servers.skip_rows"),
        ({"values": {"status": {"x": "sleeping"}}}, "sheets.Servers.values.status.x"),
        ({"values": {"colour": {"x": "y"}}}, "sheets.Servers.values.colour"),
        ({"constants": {"memory_gb": "much"}}, "sheets.Servers.constants.memory_gb"),
        ({"constants": {"owner": "\0"}}, "sheets.Servers.constants.owner"),
        ({"match": ["tags"]}, "sheets.Servers.match"),
        ({"match": ["nothing"]}, "sheets.Servers.match"),
        ({"strange": 1}, "sheets.Servers.strange"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_change_nothing(
    admin: Client, upload: Upload, sheet: dict[str, Any], field: str
) -> None:
    import_ = upload(admin, Servers=[("Name", "Place"), ("a", "R1")])
    refused = correct(admin, import_, 422, sheets={"Servers": sheet})
    assert list(refused["data"]["errors"]) == [field]
    after = admin.call("GET", f"/api/imports/{import_['id']}")["data"]
    assert after == import_


def test_an_unknown_sheet_and_what_the_user_may_not_create_are_refused(user: Client, upload: Upload) -> None:
    import_ = upload(user, Servers=[("Name", "Datacenter"), ("a", "SH-1")])
    refused = correct(user, import_, 422, sheets={"Server": {"skip": True}}, create_missing=["datacenters", "gpus"])
    assert refused["data"]["errors"] == {
        "create_missing": [
            "The user of this import is not allowed to create datacenters.",
            "gpus is not one of datacenters, environments, servers, containers.",
        ],
        "sheets.Server": ["There is no such sheet. The file has: Servers."],
    }
    assert errors_of(user, import_) == [("Servers", 2, "B2", "reference")]


def test_an_encoding_that_does_not_fit_leaves_nothing_of_the_plan_before(admin: Client, upload: Upload) -> None:
    content = "Name,Owner\nweb-1,Łódź\nweb-2,Škoda\n".encode("cp1250")
    import_ = upload(admin, form={"encoding": "cp1250"}, content=content, filename="servers.csv")
    assert (import_["status"], import_["sheets"][0]["create"]) == ("ready", 2)
    import_ = correct(admin, import_, encoding="utf-8")
    [sheet] = import_["sheets"]
    assert (import_["status"], import_["problem"]["reason"]) == ("invalid", "damaged")
    assert (sheet["create"], sheet["columns"], sheet["messages"]) == (0, [], [])
    assert rows_of(admin, import_) == []
    import_ = correct(admin, import_, encoding="cp1250")
    assert (import_["status"], import_["sheets"][0]["create"]) == ("ready", 2)


def test_encoding_and_date_order_are_corrected_in_place(admin: Client, upload: Upload) -> None:
    content = "Name;Owner;Warranty expires\nfoo;Żółw;03/04/2027\n".encode("cp1250")
    import_ = upload(admin, form={"resource": "servers"}, content=content, filename="list.csv")
    import_ = correct(admin, import_, encoding="cp1250", sheets={"list": {"dates": "mdy"}})
    changes = rows_of(admin, import_)[0]["changes"]
    assert (changes["owner"]["new"], changes["warranty_expires"]["new"]) == ("Żółw", "2027-03-04")
    import_ = correct(admin, import_, dates="dmy", sheets={"list": {"dates": None}})
    assert rows_of(admin, import_)[0]["changes"]["warranty_expires"]["new"] == "2027-04-03"
    assert (import_["encoding"], import_["dates"]) == ("cp1250", "dmy")


def test_errors_are_told_once_and_rows_are_found_by_them(admin: Client, upload: Upload) -> None:
    rows = [(f"srv{at}", "asleep" if at % 3 == 0 else "active", "-" if at % 2 else "R1") for at in range(1, 31)]
    import_ = upload(admin, Servers=[("Hostname of it", "Status", "Rack"), *rows])
    sheet = import_["sheets"][0]
    assert sheet["missing_fields"] == ["name"]
    required, choice, placeholder = sheet["messages"]
    message = "Name is required: no column holds it. Set its column, a value for all rows, or a fallback."
    assert (required["count"], required["message"]) == (30, message)
    assert (choice["rule"], choice["column"], choice["count"]) == ("choice", "B", 10)
    assert choice["values"] == [{"value": "asleep", "count": 10}]
    assert (placeholder["severity"], placeholder["count"], placeholder["rows"]) == ("warning", 15, [2, 4, 6, 8, 10])
    address = f"/api/imports/{import_['id']}/rows"
    page = admin.call("GET", f"{address}?rule=choice&column=B&page=2&page_size=4")
    assert [row["row"] for row in page["data"]] == [16, 19, 22, 25]
    assert page["pagination"]["total"] == 10
    assert admin.call("GET", f"{address}?has_warnings=false&rule=choice")["pagination"]["total"] == 5
    assert admin.call("GET", f"{address}?column=name")["pagination"]["total"] == 30
    row_numbers, cursor = [], ""
    while cursor is not None:
        page = admin.call("GET", f"{address}?has_warnings=true&page_size=4&cursor={cursor}")
        row_numbers += [row["row"] for row in page["data"]]
        cursor = page["pagination"]["next_cursor"]
    assert row_numbers == list(range(2, 32, 2))
    assert admin.call("GET", f"{address}?cursor=x", expect=400)["data"]["reason"] == "invalid_cursor"


def test_a_missing_object_that_only_wrong_rows_need_is_not_created(admin: Client, upload: Upload) -> None:
    rows = [("Name", "Datacenter", "Status"), ("a", "SH-1", "active"), ("b", "sh-1", "active"), ("c", "BJ-1", "asleep")]
    import_ = correct(admin, upload(admin, Servers=rows), create_missing=["datacenters"])
    missing, servers = import_["sheets"]
    assert (missing["sheet"], missing["create"], servers["create"], servers["error"]) == ("+ Datacenters", 1, 2, 1)
    assert apply(admin, import_, on_error="skip")["status"] == "applied"
    assert [row["name"] for row in admin.call("GET", "/api/datacenters")["data"]] == ["SH-1"]
    assert admin.send("GET", f"/api/imports/{import_['id']}/report.xlsx").status_code == 200


def test_a_worker_that_was_believed_dead_does_not_store_the_plan_of_former_settings(
    app: Flask, admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ = upload(admin, Servers=[("Name", "Place"), ("a", "R1")])
    address = f"/api/imports/{import_['id']}"
    admin.call("PATCH", address, expect=202, json={"sheets": {"Servers": {"columns": {"B": "owner"}}}})
    plan_file = pipeline._plan_file

    def plan_late(*arguments: Any) -> Any:
        # As if this worker's lease had expired, and the import been corrected and claimed meanwhile.
        with db.engine.begin() as connection:
            connection.execute(sa.update(Import.__table__).values(revision=Import.revision + 1))
        return plan_file(*arguments)

    monkeypatch.setattr(pipeline, "_plan_file", plan_late)
    runner_of(app).run_pending()
    assert admin.call("GET", address)["data"]["status"] == "validating"
    assert admin.call("GET", f"{address}/rows")["data"] == []


def test_a_last_row_that_is_set_imports_all_rows_down_to_it(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "CPU Cores"), ("a", 32), ("Total", 32)])
    assert [row["row"] for row in rows_of(admin, import_)] == [2]
    done = correct(admin, import_, sheets={"Servers": {"last_row": 3}})
    assert [row["row"] for row in rows_of(admin, done)] == [2, 3]
    assert done["sheets"][0]["sheet_warnings"] == []


@pytest.mark.race
def test_rows_that_are_listed_while_a_correction_deletes_their_plan(app: Flask, admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name",), ("a",)])
    corrected: list[Body] = []

    def correct_between(*event: Any) -> None:
        """Correct the import between the list of the plan's parts and the first of them."""
        if "FROM import_parts" in event[2] and not corrected:
            corrected.append(import_)
            with ThreadPoolExecutor(1) as other:
                other.submit(admin.call, "PATCH", f"/api/imports/{import_['id']}", json={}, expect=202).result()

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "after_cursor_execute", correct_between)
    try:
        assert admin.call("GET", f"/api/imports/{import_['id']}/rows")["data"] == []
    finally:
        sa.event.remove(engine, "after_cursor_execute", correct_between)
    assert admin.call("GET", f"/api/imports/{import_['id']}")["data"]["revision"] == 2


@pytest.mark.race
def test_an_object_that_is_deleted_while_its_row_is_planned(
    app: Flask, admin: Client, upload: Upload, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects of many rows are matched first and compared in batches later: what is gone by then is an error."""
    monkeypatch.setattr(stored_objects, "LOADED_ONCE", 0)
    server = make(Server, name="a", serial_number="S1")
    deleted: list[int] = []

    def delete_between(*event: Any) -> None:
        if "FROM servers" in event[2] and "serial_number" in event[2] and not deleted:
            deleted.append(server.id)
            with ThreadPoolExecutor(1) as other:
                other.submit(admin.call, "DELETE", f"/api/servers/{server.id}").result()

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "after_cursor_execute", delete_between)
    try:
        import_ = upload(admin, Servers=[("Name", "Serial number", "OS"), ("a", "S1", "Linux")])
    finally:
        sa.event.remove(engine, "after_cursor_execute", delete_between)
    (row,) = rows_of(admin, import_)
    assert deleted
    assert [(error["rule"], error["message"]) for error in row["errors"]] == [
        ("identity", f"There is no server {server.id}.")
    ]
