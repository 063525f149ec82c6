"""Exports: round trips through imports, formulas, audit records, permissions."""

import csv
from io import BytesIO, StringIO
from typing import Any

import pytest
from openpyxl import load_workbook

from app.catalog import CATALOG, IMPORTABLE
from app.containers.models import Container
from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.features.conftest import Upload, rows_of
from tests.spread import any_database

pytestmark = any_database

APPLY = {"apply": "true"}


def sheet(content: bytes, title: str) -> list[dict[str, Any]]:
    header, *rows = load_workbook(BytesIO(content))[title].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("name", IMPORTABLE)
def test_importing_an_untouched_export_changes_nothing(name: str, admin: Client, make: Make, upload: Upload) -> None:
    resource = IMPORTABLE[name]
    for k in range(6):
        make.varied(resource.model, k)
    job = upload(admin, form=APPLY, content=admin.send("GET", f"{resource.path}/export").data)
    assert job["status"] == "applied", rows_of(admin, job, "error")
    assert {row["action"] for row in rows_of(admin, job)} == {"unchanged"}


def test_importing_everything_untouched_changes_nothing(admin: Client, make: Make, upload: Upload) -> None:
    for resource in IMPORTABLE.values():
        for k in range(3):
            make.varied(resource.model, k)
    job = upload(admin, form=APPLY, content=admin.send("GET", "/api/export.xlsx").data)
    assert job["status"] == "applied", rows_of(admin, job, "error")
    assert {row["action"] for row in rows_of(admin, job)} == {"unchanged"}


@pytest.mark.parametrize("day", ["0001-01-01", "0087-05-03", "1899-12-31", "1900-02-28", "1900-03-01", "9999-12-31"])
@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_dates_survive_the_round_trip(day: str, kind: str, admin: Client, upload: Upload) -> None:
    """Excel has none before 1900, and one too many in that year."""
    bought = {"name": "abacus", "asset_type": "other", "purchase_date": day}
    admin.call("POST", "/api/assets", json=bought, expect=201)
    content = admin.send("GET", f"/api/assets/export?format={kind}").data
    job = upload(admin, form=APPLY, content=content, filename=f"assets.{kind}")
    assert job["status"] == "applied", rows_of(admin, job, "error")
    assert [row["action"] for row in rows_of(admin, job)] == ["unchanged"]


def test_a_changed_cell_of_an_export_is_the_only_change(admin: Client, make: Make, upload: Upload) -> None:
    for name in ("a", "b"):
        make(Server, name=name, attributes={"QoS level": "LS", "gpu_model": "T4"}, tags=["x, y", "z"])
    content = edited(admin, {"Rack": "R7"})
    job = upload(admin, form=APPLY, content=content)
    changed = rows_of(admin, job, "update")
    assert [row["changes"] for row in changed] == [{"rack": {"old": None, "new": "R7"}}]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_texts_that_look_like_something_else_survive_the_round_trip(
    kind: str, admin: Client, make: Make, upload: Upload
) -> None:
    signs = (
        "<clear>",
        "'<clear>",
        "TRUE",
        "false",
        "1.50",
        "007",
        "7",
        "-5",
        "'7",
        "''7",
        "1e5",
        "=1+1",
        "'=1",
        "'",
        "N/A",
    )
    for number, text in enumerate(signs):
        make(Server, name=f"{text} {number}", owner=text, tags=[text], attributes={"text": text, "number": number})
    make(Server, name="<clear>")
    make(Server, name="numbers", attributes={"text": 7, "number": 1.5, "flag": True})
    content = admin.send("GET", f"/api/servers/export?format={kind}").data
    again = upload(admin, content=content, filename=f"Servers.{kind}")
    assert [row["changes"] for row in rows_of(admin, again) if row["action"] != "unchanged"] == []


def test_references_whose_name_is_not_unique_are_qualified(admin: Client, make: Make, upload: Upload) -> None:
    servers = [make(Server, name="n1", datacenter_id=make(Datacenter).id) for _ in range(2)]
    make(Container, name="c", server_id=servers[1].id)
    content = admin.send("GET", "/api/containers/export").data
    assert [row["Server"] for row in sheet(content, "Containers")] == [f"n1 [#{servers[1].id}]"]
    job = upload(admin, form=APPLY, content=content)
    assert [row["action"] for row in rows_of(admin, job)] == ["unchanged"]


def test_an_export_has_the_filters_and_the_order_of_the_list(admin: Client, make: Make) -> None:
    for name, rack in (("a", "1"), ("b", "2"), ("c", "2")):
        make(Server, name=name, rack=rack)
    content = admin.send("GET", "/api/servers/export?rack=2&sort=-name").data
    assert [row["Name"] for row in sheet(content, "Servers")] == ["c", "b"]
    export = admin.call("GET", "/api/servers/export?format=json&q=a&sort=name")
    assert [item["name"] for item in export["data"]] == ["a"]
    admin.call("GET", "/api/servers/export?format=pdf", expect=400)
    admin.call("GET", "/api/servers/export?page=2", expect=400)
    admin.call("GET", "/api/export.xlsx?resources=users", expect=400)


def test_an_export_of_some_fields_can_be_imported_again(admin: Client, make: Make, upload: Upload) -> None:
    place = make(Datacenter, name="SH-1")
    make(Server, name="n1", rack="R1", datacenter_id=place.id)
    path = "/api/servers/export?fields=rack,datacenter"
    content = admin.send("GET", path).data
    (row,) = sheet(content, "Servers")
    assert list(row) == ["_id", "_version", "Datacenter", "Rack", "_installation"]
    assert (row["Datacenter"], row["Rack"]) == ("SH-1", "R1")
    job = upload(admin, form=APPLY, content=content)
    assert [row["action"] for row in rows_of(admin, job)] == ["unchanged"]
    (item,) = admin.call("GET", f"{path}&format=json")["data"]
    assert item == {"rack": "R1", "datacenter": {"id": place.id, "name": "SH-1"}}
    admin.call("GET", "/api/servers/export?fields=racks", expect=400)


def test_a_misspelt_resource_or_parameter_is_answered_with_the_nearest(admin: Client) -> None:
    for query, reason, nearest in (
        ("resources=serverz", "unknown_type", "servers"),
        ("resource=servers", "unknown_parameter", "resources"),
    ):
        data = admin.call("GET", f"/api/export.xlsx?{query}", expect=400)["data"]
        assert (data["reason"], data["did_you_mean"][0]) == (reason, nearest)


def test_an_empty_export_has_its_titles(admin: Client) -> None:
    page = load_workbook(BytesIO(admin.send("GET", "/api/assets/export").data))["Assets"]
    assert [cell.value for cell in page[1]][:3] == ["_id", "_version", "Name"]
    assert page.freeze_panes == "A2"


@pytest.mark.parametrize("name", CATALOG)
def test_titles_of_an_export_are_unique(name: str, admin: Client) -> None:
    page = load_workbook(BytesIO(admin.send("GET", f"{CATALOG[name].path}/export").data)).worksheets[0]
    titles = [cell.value for cell in page[1]]
    assert len(set(titles)) == len(titles)


def test_text_that_looks_like_a_formula_stays_text(admin: Client, make: Make) -> None:
    make(Server, name="=1+1", owner="@SUM(A1)")
    page = load_workbook(BytesIO(admin.send("GET", "/api/servers/export").data))["Servers"]
    cell = next(cell for cell in page[2] if cell.value == "=1+1")
    assert cell.data_type == "s"
    text = admin.send("GET", "/api/servers/export?format=csv").data.decode("utf-8-sig")
    (row,) = csv.DictReader(StringIO(text))
    assert (row["Name"], row["Owner"]) == ("'=1+1", "'@SUM(A1)")


def test_each_export_is_recorded_in_the_audit_log(admin: Client, user: Client, make: Make) -> None:
    make(Server)
    for path in ("/api/servers/export?format=csv", "/api/export.xlsx?resources=servers"):
        user.send("GET", path)
    records = admin.call("GET", "/api/audit-logs?action=export&sort=id")["data"]
    assert [(record["resource_type"], record["changes"]) for record in records] == [
        ("servers", {"Servers": {"old": None, "new": 1}}),
        ("exports", {"Servers": {"old": None, "new": 1}}),
    ]
    assert {record["username"] for record in records} == {user.user.username}


def test_exports_need_permission_to_read(sign_in: SignIn, anonymous: Client) -> None:
    sign_in(role=Role.USER).call("GET", "/api/users/export", expect=403)
    anonymous.call("GET", "/api/export.xlsx", expect=401)


def test_changes_since_the_export_are_not_overwritten(admin: Client, make: Make, upload: Upload) -> None:
    server = make(Server, name="n1", rack="R1", owner="ann", attributes={"qos": "LS"})
    content = edited(admin, {"Rack": "R7", "attributes.qos": "BE", "OS": "linux"})
    admin.call("PATCH", f"/api/servers/{server.id}", json={"rack": "R2", "attributes": {"qos": "ES"}})
    job = upload(admin, form=APPLY, content=content)
    (row,) = rows_of(admin, job, "error")
    again = "Export the object again to change it."
    assert [(error["field"], error["rule"], error["message"]) for error in row["errors"]] == [
        (
            "rack",
            "changed_since",
            f"Rack has changed since the export: it was R1, it is R2 now, and this row has R7. {again}",
        ),
        (
            "attributes",
            "changed_since",
            f"qos has changed since the export: it was LS, it is ES now, and this row has BE. {again}",
        ),
    ]


def test_fields_that_nobody_changed_since_the_export_are_updated(admin: Client, make: Make, upload: Upload) -> None:
    server = make(Server, name="n1", rack="R1")
    content = edited(admin, {"Rack": "R7", "OS": "linux"})
    admin.call("PATCH", f"/api/servers/{server.id}", json={"rack": "R7"})
    assert upload(admin, form=APPLY, content=content)["status"] == "applied"
    stored = admin.call("GET", f"/api/servers/{server.id}")["data"]
    assert (stored["rack"], stored["os"], stored["version"]) == ("R7", "linux", 3)


def edited(client: Client, changes: dict[str, str]) -> bytes:
    """The export of the servers, with other values in its first row, below these titles."""
    book = load_workbook(BytesIO(client.send("GET", "/api/servers/export").data))
    page = book["Servers"]
    titles = [cell.value for cell in page[1]]
    for title, value in changes.items():
        page.cell(2, titles.index(title) + 1).value = value
    content = BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_ids_count_only_where_they_were_exported(kind: str, admin: Client, make: Make, upload: Upload) -> None:
    server = make(Server, name="alpha")
    make(Container, name="c", server_id=server.id)
    exported = {
        name: admin.send("GET", f"/api/{name}/export?format=csv").data.decode("utf-8-sig")
        for name in ("servers", "containers")
    }
    rows = {name: list(csv.DictReader(StringIO(text))) for name, text in exported.items()}
    assert rows["servers"][0]["_installation"]
    # The same ids elsewhere are those of other objects.
    other = {**rows["servers"][0], "Name": "omega", "_installation": "elsewhere"}
    import_ = upload(admin, **as_file(kind, "Servers", [other]))
    assert [row["action"] for row in rows_of(admin, import_)] == ["create"]
    assert import_["sheets"][0]["notes"][-1].startswith("Rows exported by another installation")
    # Nor do those behind names, and without a column of the installation an operator has written the ids.
    below = {**rows["containers"][0], "Server": "alpha [#99]", "_installation": "elsewhere"}
    planned = rows_of(admin, upload(admin, **as_file(kind, "Containers", [below])))
    assert [row["action"] for row in planned] == ["unchanged"]
    by_hand = {"_id": server.id, "Name": "omega"}
    planned = rows_of(admin, upload(admin, **as_file(kind, "Servers", [by_hand])))
    assert [row["action"] for row in planned] == ["update"]


def as_file(kind: str, title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of an upload with these rows, as its arguments."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    if kind == "xlsx":
        table[1] = [int(cell) if name in ("_id", "_version") else cell or None for name, cell in rows[0].items()]
        return {title: table}
    text = StringIO()
    csv.writer(text).writerows(table)
    return {"content": text.getvalue().encode(), "filename": f"{title}.csv"}
