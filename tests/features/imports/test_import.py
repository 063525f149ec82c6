"""Imports from the upload to the stored objects: what is imported, what is refused, all or nothing."""

import sqlite3
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.core.db.dialects.mariadb import connections
from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Body, Client
from tests.conftest import BuildApp, SignIn, Statements
from tests.factories import Make
from tests.features.conftest import Upload, apply, errors_of, rows_of, workbook
from tests.mariadb import on_mariadb

APPLY = {"apply": "true"}

FLEET: dict[str, Any] = {
    # In an order in which every sheet refers to a later one.
    "GPUs": [("Server", "Index", "Model", "Memory (GB)"), ("n1", 0, "H100", 80), ("n1", 1, "H100", 15.898)],
    "Services": [
        ("Name", "Server", "Container", "Port"),
        ("ssh", "n1", None, 22),
        ("api", None, "pod-1", 8080),
    ],
    "Containers": [
        ("Name", "Server", "CPU Limit (cores)", "Memory Limit (MiB)", "Status", "QoS", "Created (s)"),
        ("pod-1", "N1", 0.5, 16384, "Running", "LS", 427061),
        ("pod-2", None, 12, 16384, "Pending", "BE", 0),
    ],
    "Servers": [
        ("Name", "Datacenter", "IP Address", "CPU Cores", "Memory (GB)", "GPU Model", "Serial Number"),
        ("n1", "openb", "10.0.0.1", 32, 256, "H100", "007"),
        ("n2", "openb", None, 64, "512g", None, 7),
    ],
    "Datacenters": [("Name", "Latitude"), ("openb", 31.2)],
}


def totals(client: Client) -> dict[str, int]:
    names = ("datacenters", "servers", "gpus", "containers", "services")
    return {name: client.call("GET", f"/api/{name}")["pagination"]["total"] for name in names}


def audit(client: Client, **query: Any) -> list[Body]:
    records: list[Body] = client.call("GET", "/api/audit-logs", query_string={"page_size": 100, "sort": "id", **query})[
        "data"
    ]
    return records


def find(client: Client, resource: str, **query: Any) -> Body:
    (item,) = client.call("GET", f"/api/{resource}", query_string=query)["data"]
    return item  # type: ignore[no-any-return]


def test_a_workbook_is_imported_whatever_the_order_of_its_sheets(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, form=APPLY, **FLEET)
    assert import_["status"] == "applied"
    assert import_["progress"] | {"rows_per_second": None, "seconds_left": None} == {
        "phase": "done",
        "label": "Done",
        "done": 9,
        "total": 9,
        "rows_per_second": None,
        "seconds_left": None,
    }
    assert totals(admin) == {"datacenters": 1, "servers": 2, "gpus": 2, "containers": 2, "services": 2}
    server = find(admin, "servers", name="n1")
    assert server["datacenter"]["name"] == "openb"
    assert (server["memory_gb"], server["serial_number"]) == (256, "007")
    assert server["attributes"] == {"gpu_model": "H100"}
    other = find(admin, "servers", name="n2")
    assert (other["memory_gb"], other["serial_number"]) == (512, "7")
    assert find(admin, "gpus", slot=0)["memory_mb"] == 80 * 1024
    assert find(admin, "gpus", slot=1)["memory_mb"] == 16280
    pod = find(admin, "containers", name="pod-1")
    assert pod["server"]["name"] == "n1"
    assert (pod["cpu_limit"], pod["memory_limit_mb"], pod["status"]) == (0.5, 16384, "running")
    assert pod["attributes"] == {"qos": "LS", "created_s": 427061}
    assert find(admin, "containers", name="pod-2")["server"] is None
    assert find(admin, "services", name="api")["container"]["name"] == "pod-1"


def test_every_imported_object_has_an_audit_record_with_the_request_id_of_the_import(
    admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, form=APPLY, **FLEET)
    records = audit(admin, request_id=import_["request_id"])
    assert [record["action"] for record in records] == ["create"] * 9 + ["import"]
    assert {record["username"] for record in records} == {admin.user.username}
    assert {record["ip_address"] for record in records} == {"127.0.0.1"}
    server = next(record for record in records if record["resource_name"] == "n1")
    assert server["changes"]["memory_gb"] == {"old": None, "new": 256}
    assert server["changes"]["status"] == {"old": None, "new": "active"}
    assert server["version"] == 1
    assert records[-1]["resource_type"] == "imports"
    assert records[-1]["changes"]["create"]["new"] == 9


def test_the_same_workbook_again_changes_nothing(admin: Client, upload: Upload) -> None:
    upload(admin, form=APPLY, **FLEET)
    before = {record["id"] for record in audit(admin)}
    import_ = upload(admin, form=APPLY, **FLEET)
    assert import_["status"] == "applied"
    assert {sheet["sheet"]: sheet["unchanged"] for sheet in import_["sheets"]} == {
        "GPUs": 2,
        "Services": 2,
        "Containers": 2,
        "Servers": 2,
        "Datacenters": 1,
    }
    assert [record["action"] for record in audit(admin) if record["id"] not in before] == ["import"]
    assert find(admin, "servers", name="n1")["version"] == 1


def test_a_changed_cell_is_an_update_with_old_and_new(admin: Client, upload: Upload) -> None:
    upload(admin, form=APPLY, **FLEET)
    import_ = upload(
        admin,
        Servers=[
            ("Name", "Datacenter", "Memory (MB)", "QoS"),
            ("N1", "openb", 131072, "LS"),
            ("n2", None, 524288, None),
        ],
    )
    assert import_["status"] == "ready"
    first, second = rows_of(admin, import_)
    assert (first["action"], second["action"]) == ("update", "unchanged")
    assert first["changes"]["memory_gb"] == {"old": 256, "new": 128}
    assert first["changes"]["attributes"]["new"] == {"gpu_model": "H100", "qos": "LS"}
    assert find(admin, "servers", name="n1")["memory_gb"] == 256, "A plan alone stores nothing."
    assert apply(admin, import_)["status"] == "applied"
    server = find(admin, "servers", name="n1")
    assert (server["name"], server["version"], server["memory_gb"]) == ("N1", 2, 128)
    record = audit(admin, request_id=import_["request_id"], resource_type="servers")[0]
    assert (record["action"], record["version"]) == ("update", 2)
    assert record["changes"]["memory_gb"] == {"old": 256, "new": 128}


def test_all_errors_of_all_rows_are_listed_at_once_and_nothing_is_stored(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        form=APPLY,
        Datacenters=[("Name",), ("SH-1",)],
        Servers=[
            ("Fleet of 2026", None, None, None),
            ("Name", "Datacenter", "CPU Cores", "Status"),
            ("web-1", "SH-1", 8, "Running"),
            ("web-2", "SH-1", "eight", "Runing"),
            ("WEB-1", "SH-1", 2.5, "running"),
            (None, "SH-1", 8, "running"),
            ("web-3", "SH-l", 8, "running"),
        ],
    )
    assert import_["status"] == "invalid"
    assert errors_of(admin, import_) == [
        ("Servers", 4, "C4", "number"),
        ("Servers", 4, "D4", "choice"),
        ("Servers", 5, "C5", "integer"),
        ("Servers", 5, "A5", "duplicate"),
        ("Servers", 6, "A6", "required"),
        ("Servers", 7, "B7", "reference"),
    ]
    errors = {error["cell"]: error for row in rows_of(admin, import_, "error") for error in row["errors"]}
    assert (errors["C4"]["column"], errors["C4"]["value"]) == ("CPU Cores", "eight")
    assert errors["D4"]["suggestion"] == "active"
    assert errors["A5"]["message"] == "Row 3 describes the same server: leave one of the two out."
    assert (
        errors["B7"]["message"]
        == "There is no datacenter called SH-l: correct the name, or create it, for instance with the import."
    )
    assert errors["B7"]["suggestion"] == "SH-1"
    assert totals(admin)["servers"] == totals(admin)["datacenters"] == 0
    assert not audit(admin, request_id=import_["request_id"], action="create")


def test_the_rows_without_errors_can_be_applied_alone(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        Datacenters=[("Name", "Code"), ("SH-1", "x" * 65), ("BJ-2", "bj")],
        Servers=[("Name", "Datacenter"), ("a", "SH-1"), ("b", "BJ-2"), ("c", None)],
    )
    assert errors_of(admin, import_) == [("Datacenters", 2, "B2", "length"), ("Servers", 2, "B2", "reference")]
    refused = apply(admin, import_, expect=409)
    assert refused["data"]["reason"] == "not_applicable"
    assert apply(admin, import_, on_error="skip")["status"] == "applied"
    assert totals(admin) == {"datacenters": 1, "servers": 2, "gpus": 0, "containers": 0, "services": 0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Name,Datacenter\nweb-1,SH-1\n", "not_a_workbook"),
        (b"<html><table></table></html>", "not_a_workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024), "old_excel"),
        (workbook(Servers=[("Name",), ("a",)])[:300], "damaged"),
    ],
)
def test_a_file_that_is_no_workbook_is_refused_by_the_upload(admin: Client, content: bytes, reason: str) -> None:
    answer = admin.call("POST", "/api/imports", expect=422, data={"file": (BytesIO(content), "servers.xlsx")})
    assert answer["data"]["reason"] == reason
    assert answer["data"]["errors"]["file"] == [answer["message"]]
    assert admin.call("GET", "/api/imports")["data"] == []


def test_errors_of_the_form_name_its_fields(admin: Client) -> None:
    assert "file" in admin.call("POST", "/api/imports", expect=422, data={})["data"]["errors"]
    form = {"mode": "sideways", "extra": "burn", "bogus": "1"}
    errors = admin.call("POST", "/api/imports", expect=422, data=form)["data"]["errors"]
    assert set(errors) == {"mode", "extra", "bogus"}
    for form in ({"resource": "users"}, {"match": "colour"}, {"mapping": "[1]"}):
        file = (BytesIO(workbook(Servers=[("Name",)])), "f.xlsx")
        answer = admin.call("POST", "/api/imports", expect=422, data={**form, "file": file})
        assert set(answer["data"]["errors"]) == set(form)


def test_a_plan_is_refused_once_its_objects_have_changed(admin: Client, upload: Upload, make: Make) -> None:
    server = make(Server, name="a", memory_gb=1)
    import_ = upload(admin, Servers=[("Name", "Memory (GB)"), ("a", 2), ("b", 2)])
    admin.call("PATCH", f"/api/servers/{server.id}", json={"memory_gb": 3})
    answer = apply(admin, import_, expect=409)
    assert answer["data"]["reason"] == "out_of_date"
    (conflict,) = answer["data"]["conflicts"]
    assert (conflict["sheet"], conflict["row"], conflict["id"]) == ("Servers", 2, server.id)
    assert find(admin, "servers", name="a")["memory_gb"] == 3


def test_a_name_taken_since_the_plan_fails_the_import_as_a_whole(admin: Client, upload: Upload, make: Make) -> None:
    import_ = upload(admin, Datacenters=[("Name",), ("SH-1",)], Servers=[("Name",), ("a",), ("b",)])
    make(Server, name="B")
    failed = apply(admin, import_)
    assert failed["status"] == "failed"
    assert failed["problem"]["reason"] == "out_of_date"
    assert [conflict["row"] for conflict in failed["problem"]["conflicts"]] == [3]
    assert totals(admin)["datacenters"] == 0
    assert totals(admin)["servers"] == 1


def test_a_plan_is_applied_once(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, form=APPLY, Servers=[("Name",), ("a",)])
    assert apply(admin, import_, expect=409)["data"]["reason"] == "not_applicable"


def test_rows_that_change_objects_of_other_users_are_errors(user: Client, other: Client, upload: Upload) -> None:
    upload(user, form=APPLY, Servers=[("Name", "OS"), ("mine", "Debian")])
    import_ = upload(
        other,
        Datacenters=[("Name",), ("SH-1",)],
        Servers=[("Name", "OS"), ("mine", "Arch"), ("new", "Arch")],
    )
    assert errors_of(other, import_) == [
        ("Datacenters", 2, None, "forbidden"),
        ("Servers", 2, None, "not_owner"),
    ]
    again = upload(other, form=APPLY, Servers=[("Name", "OS"), ("mine", "Debian"), ("new", "Arch")])
    assert again["status"] == "applied"
    assert find(other, "servers", name="new")["created_by"]["name"] == other.user.username


def test_an_import_is_visible_to_its_owner_and_to_administrators(
    user: Client, other: Client, admin: Client, upload: Upload
) -> None:
    import_ = upload(user, Servers=[("Name",), ("a",)])
    for path in ("", "/rows"):
        other.call("GET", f"/api/imports/{import_['id']}{path}", expect=404)
        admin.call("GET", f"/api/imports/{import_['id']}{path}")
    other.call("POST", f"/api/imports/{import_['id']}/apply", json={}, expect=404)
    assert other.call("GET", "/api/imports")["data"] == []
    assert [item["id"] for item in user.call("GET", "/api/imports")["data"]] == [import_["id"]]


def test_an_import_of_a_deactivated_user_fails(admin: Client, sign_in: SignIn, upload: Upload) -> None:
    leaving = sign_in(role=Role.USER)
    file = (BytesIO(workbook(Servers=[("Name",), ("a",)])), "f.xlsx")
    started = leaving.call("POST", "/api/imports", expect=202, data={"file": file, **APPLY})
    admin.call("PATCH", f"/api/users/{leaving.user.id}", json={"is_active": False})
    upload(admin, Servers=[("Name",)])
    assert admin.call("GET", f"/api/imports/{started['data']['id']}")["data"]["status"] == "failed"
    assert totals(admin)["servers"] == 0


def test_modes(admin: Client, upload: Upload, make: Make) -> None:
    make(Server, name="a")
    sheet = [("Name", "OS"), ("a", "Debian"), ("b", "Debian")]
    assert errors_of(admin, upload(admin, form={"mode": "create"}, Servers=sheet)) == [("Servers", 2, None, "exists")]
    assert errors_of(admin, upload(admin, form={"mode": "update"}, Servers=sheet)) == [("Servers", 3, None, "missing")]


def test_rows_are_matched_by_id_or_by_the_chosen_field(admin: Client, upload: Upload, make: Make) -> None:
    server = make(Server, name="a", serial_number="S-1")
    import_ = upload(admin, Servers=[("_id", "Name"), (server.id, "renamed"), (server.id + 1, "nobody")])
    assert errors_of(admin, import_) == [("Servers", 3, "A3", "identity")]
    assert rows_of(admin, import_, "update")[0]["changes"] == {"name": {"old": "a", "new": "renamed"}}
    import_ = upload(admin, form={"match": "serial_number"}, Servers=[("Serial Number", "Name"), ("s-1", "again")])
    assert rows_of(admin, import_)[0]["id"] == server.id


def test_a_name_alone_is_enough_where_only_one_object_has_it(admin: Client, upload: Upload, make: Make) -> None:
    first, second = make(Datacenter, name="one"), make(Datacenter, name="two")
    make(Server, name="unique", datacenter_id=first.id)
    for place in (first, second):
        make(Server, name="twice", datacenter_id=place.id)
    import_ = upload(
        admin,
        Servers=[("Name", "Datacenter", "OS"), ("unique", None, "x"), ("twice", None, "x"), ("twice", "two", "x")],
    )
    assert [row["action"] for row in rows_of(admin, import_)] == ["update", "error", "update"]
    assert errors_of(admin, import_) == [("Servers", 3, "A3", "ambiguous")]


def test_empty_cells_and_placeholders_keep_values_and_clear_empties_them(
    admin: Client, upload: Upload, make: Make
) -> None:
    server = make(Server, name="a", os="Debian", rack="R1")
    admin.call("PATCH", f"/api/servers/{server.id}", json={"model": "X"})
    import_ = upload(
        admin,
        form=APPLY,
        Servers=[("Name", "OS", "Rack", "Model", "Serial Number"), ("a", None, "N/A", "<clear>", "无")],
    )
    assert import_["sheets"][0]["warnings"] == 2
    assert [warning["cell"] for warning in rows_of(admin, import_)[0]["warnings"]] == ["C2", "E2"]
    server = find(admin, "servers", name="a")
    assert (server["os"], server["rack"], server["model"]) == ("Debian", "R1", None)
    refused = upload(admin, Servers=[("Name", "Status"), ("a", "<clear>")])
    assert errors_of(admin, refused) == [("Servers", 2, "B2", "required")]


def test_chinese_titles_units_and_values_are_understood(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        form=APPLY,
        机房=[("机房名称",), ("上海一号",)],
        服务器=[
            ("名称(必填)", "所属机房", "内存（GB）", "状态", "类型", "内网IP"),
            ("节点1", "上海一号", "５１２", "在用", "虚拟机", "10.0.0.1/24"),
        ],
    )
    assert import_["status"] == "applied"
    server = find(admin, "servers", name="节点1")
    assert server["datacenter"]["name"] == "上海一号"
    assert (server["memory_gb"], server["status"], server["server_type"], server["internal_ip"]) == (
        512,
        "active",
        "virtual",
        "10.0.0.1",
    )


def test_a_misspelt_column_is_a_warning_and_an_unknown_one_is_kept_ignored_or_refused(
    admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[("Name", "Datacentre", "Cluster"), ("a", None, "alpha")])
    assert import_["status"] == "ready"
    (warning,) = import_["sheets"][0]["sheet_warnings"]
    assert (warning["rule"], warning["column"], warning["suggestion"]) == ("misspelt_column", "B", "Datacenter")
    sheet = [("Name", "Cluster"), ("a", "alpha")]
    uses = {
        extra: upload(admin, form={"extra": extra}, Servers=sheet)["sheets"][0]
        for extra in ("keep", "ignore", "refuse")
    }
    assert [uses[extra]["columns"][1]["use"] for extra in ("keep", "ignore")] == ["attribute", "ignored"]
    assert uses["refuse"]["problems"][0]["rule"] == "unknown_column"


def test_a_mapping_says_what_a_title_means(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        form={"mapping": '{"Gerät": "name", "Notiz": null}', "resource": "servers", **APPLY},
        Bestand=[("Gerät", "Notiz"), ("a", "geheim")],
    )
    assert import_["status"] == "applied"
    assert find(admin, "servers", name="a")["attributes"] == {}


def test_an_unknown_sheet_is_reported_and_the_others_are_imported(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, form=APPLY, Clusters=[("Name",), ("c",)], Servers=[("Name",), ("a",)])
    assert import_["status"] == "applied"
    (unknown,) = [sheet for sheet in import_["sheets"] if sheet["resource"] is None]
    assert (unknown["sheet"], len(unknown["notes"])) == ("Clusters", 1)
    lost = upload(admin, Clusters=[("Name",), ("c",)])
    assert (lost["status"], lost["problem"]["reason"]) == ("invalid", "no_table")


def test_no_column_sets_a_read_only_field(admin: Client, upload: Upload) -> None:
    titles = ("Name", "Created by", "Created at", "_version", "Version", "ID")
    import_ = upload(admin, form=APPLY, Servers=[titles, ("a", "mallory", "2001-01-01", 9, 9, 9)])
    assert import_["status"] == "applied"
    server = find(admin, "servers", name="a")
    assert (server["version"], server["created_by"]["name"]) == (1, admin.user.username)
    gpu = upload(admin, GPUs=[("Server", "Model", "Status"), ("a", "H100", "assigned")])
    assert errors_of(admin, gpu) == [("GPUs", 2, "C2", "whole")]


def test_a_unique_value_that_another_object_has_is_named(admin: Client, upload: Upload, make: Make) -> None:
    make(Server, name="a", asset_tag="T-1")
    place = make(Datacenter, name="SH-1")
    make(Server, name="b", datacenter_id=place.id, internal_ip="10.0.0.1")
    import_ = upload(
        admin,
        Servers=[
            ("Name", "Datacenter", "IP Address", "Asset tag"),
            ("c", "SH-1", "10.0.0.1", None),
            ("d", "SH-1", "10.0.0.2", "T-2"),
            ("e", "SH-1", "10.0.0.3", "T-2"),
        ],
    )
    assert errors_of(admin, import_) == [("Servers", 2, "C2", "taken"), ("Servers", 4, "D4", "duplicate")]


def test_the_number_of_statements_does_not_depend_on_the_number_of_rows(
    admin: Client, upload: Upload, statements: Statements, make: Make
) -> None:
    make(Environment, name="production")

    def count(rows: int) -> int:
        names = [f"{rows}-{number}" for number in range(rows)]
        with statements() as sent:
            import_ = upload(
                admin,
                form=APPLY,
                Datacenters=[("Name",), *((name,) for name in names)],
                Servers=[("Name", "Datacenter", "OS"), *((name, name, "x") for name in names)],
                GPUs=[("Server", "Slot", "Model"), *((name, 0, "H100") for name in names)],
            )
            assert import_["status"] == "applied"
            changed = upload(admin, form=APPLY, Servers=[("Name", "OS"), *((name, "y") for name in names)])
            assert changed["sheets"][0]["update"] == rows
        return len(sent)

    # On SQLite, the first ids of a table take a statement more.
    count(1)
    assert count(2) == count(20)


def test_polling_costs_nothing_while_nothing_changes(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name",), ("a",)])
    path = f"/api/imports/{import_['id']}"
    etag = admin.send("GET", path).headers["ETag"]
    assert admin.send("GET", path, expect=304, headers={"If-None-Match": etag}).data == b""


def test_the_old_value_of_a_reference_has_its_name(
    admin: Client, upload: Upload, make: Make, statements: Statements
) -> None:
    """It is read once for a page, whatever the number of its rows, and in every language."""
    old, new = make(Datacenter, name="SH-1"), make(Datacenter, name="SH-2")
    for number in range(3):
        make(Server, name=f"s{number}", serial_number=f"S{number}", datacenter_id=old.id)
    rows = [("Name", "Serial number", "Datacenter"), *((f"s{number}", f"S{number}", "SH-2") for number in range(3))]
    import_ = upload(admin, Servers=rows)
    for language in ("en", "zh"):
        with statements() as sent:
            listed = admin.call("GET", f"/api/imports/{import_['id']}/rows?lang={language}")["data"]
        assert sum("FROM datacenters" in statement for statement in sent) == 1
        assert [row["changes"] for row in listed] == 3 * [
            {"datacenter_id": {"old": {"id": old.id, "name": "SH-1"}, "new": {"id": new.id, "name": "SH-2"}}}
        ]


@on_mariadb
def test_a_file_that_the_server_does_not_take_is_refused(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB ends the connection of a statement that is too large."""
    monkeypatch.setattr(connections, "largest_file", lambda _connection: 2**20)
    # Encoded here: werkzeug's client leaves the temporary file open into which it writes a form of this size.
    head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="servers.csv"\r\n\r\n'
    form = head + b"Name\n" + b"n" * 2**20 + b"\r\n--part--\r\n"
    kind = "multipart/form-data; boundary=part"
    answer = admin.call("POST", "/api/imports", data=form, content_type=kind, expect=413)
    assert "takes files of 1 MB: its administrator can raise max_allowed_packet" in answer["message"]


@on_sqlite
def test_a_file_is_checked_before_the_lock_of_all_writers(app: Flask, admin: Client) -> None:
    """The check of a large file takes a while: others write meanwhile."""
    with app.app_context():
        path = str(db.engine.url.database)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        file = (BytesIO(b"PK\x03\x04 is all that there is"), "fleet.xlsx")
        admin.call("POST", "/api/imports", data={"file": file}, expect=422)


def test_what_is_to_be_applied_at_once_waits_where_a_row_is_wrong(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, form=APPLY, Servers=[("Name", "CPU cores"), ("n1", 8), ("n2", "eight")])
    assert (import_["status"], import_["sheets"][0]["error"]) == ("invalid", 1)
    assert admin.call("GET", "/api/servers")["pagination"]["total"] == 0


def test_a_file_above_the_size_limit_is_refused(build_app: BuildApp, admin: Client) -> None:
    small = Client(build_app(MAX_IMPORT_MB=1), admin.document, admin.token, admin.user)
    for size, status in ((1024 * 1024, 202), (1024 * 1024 + 1, 413)):
        file = FileStorage(BytesIO(b"Name\n".ljust(size, b"\n")), "fleet.csv")
        boundary, body = encode_multipart({"file": file})
        form = {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}
        answer = small.call("POST", "/api/imports", expect=status, **form)
        assert status == 202 or answer["message"] == "The file is larger than 1 MB."
    assert admin.call("GET", "/api/imports")["pagination"]["total"] == 1
