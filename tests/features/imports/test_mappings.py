"""Saved mappings of columns."""

from io import BytesIO
from typing import Any

import pytest
from flask import Flask

from app.core.jobs.runner import runner_of
from tests.client import Body, Client
from tests.features.conftest import Upload, rows_of, workbook
from tests.spread import any_database

pytestmark = any_database

SHEET: list[tuple[Any, ...]] = [("Gerät", "Platz", "Notiz"), ("n1", "R1", "geheim")]
FORM = {"mapping": '{"Gerät": "name", "Platz": "rack", "Notiz": null}', "resource": "servers"}


def remembered(client: Client) -> list[Body]:
    mappings: list[Body] = client.call("GET", "/api/imports/mappings")["data"]
    return mappings


def test_a_saved_mapping_is_used_for_the_same_titles(user: Client, upload: Upload) -> None:
    assert upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)["status"] == "ready"
    (mapping,) = remembered(user)
    assert (mapping["name"], mapping["resources"], mapping["used_at"]) == ("Bestand", ["servers"], None)
    assert mapping["mapping"] == {"Gerät": "name", "Platz": "rack", "Notiz": None}
    again = upload(user, Tabelle1=[("Inventar 2027",), ("Notiz", "Gerät ", "Platz"), ("x", "n2", "R2")])
    assert again["status"] == "ready"
    (row,) = rows_of(user, again)
    assert (row["resource"], row["changes"]["name"]["new"], row["changes"]["rack"]["new"]) == ("servers", "n2", "R2")
    assert again["sheets"][0]["notes"][-1] == "This sheet is read as you saved it under the name Bestand."
    assert remembered(user)[0]["used_at"] is not None


def test_a_saved_mapping_is_not_used_for_other_titles(user: Client, upload: Upload) -> None:
    upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)
    other = upload(user, form={"resource": "servers"}, Bestand=[("Name", "Notiz"), ("n1", "x")])
    assert rows_of(user, other)[0]["changes"]["attributes"]["new"] == {"notiz": "x"}


def test_the_mapping_of_an_upload_takes_precedence_over_saved_ones(user: Client, upload: Upload) -> None:
    upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)
    form = {**FORM, "mapping": '{"Gerät": "name", "Platz": "owner", "Notiz": null}'}
    assert rows_of(user, upload(user, form=form, Bestand=SHEET))[0]["changes"]["owner"]["new"] == "R1"


def test_a_mapping_can_be_named_instead_of_written(user: Client, upload: Upload) -> None:
    upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)
    titles = ("Gerät", "Platz", "Notiz", "Farbe")
    import_ = upload(
        user, form={"mapping": "Bestand", "resource": "servers"}, Bestand=[titles, ("n1", "R1", "x", "rot")]
    )
    assert rows_of(user, import_)[0]["changes"]["rack"]["new"] == "R1"


def test_mappings_are_private_replaced_by_name_and_deleted(
    user: Client, other: Client, admin: Client, upload: Upload
) -> None:
    upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)
    assert remembered(other) == remembered(admin) == []
    assert upload(other, Bestand=SHEET)["problem"]["reason"] == "no_table"
    upload(user, form={**FORM, "mapping": '{"Gerät": "hostname"}', "remember": "Bestand"}, Bestand=SHEET)
    (mapping,) = remembered(user)
    assert mapping["mapping"] == {"Gerät": "hostname"}
    for client in (other, admin):
        client.call("DELETE", f"/api/imports/mappings/{mapping['id']}", expect=404)
    user.call("DELETE", f"/api/imports/mappings/{mapping['id']}")
    assert remembered(user) == []
    assert upload(user, Bestand=SHEET)["problem"]["reason"] == "no_table"


LIST: list[tuple[Any, ...]] = [("Gerät", "Zustand"), ("n1", "läuft")]
READ = {
    "resource": "servers",
    "columns": {"A": "name", "B": "status"},
    "values": {"status": {"läuft": "active", "defekt": "offline"}},
    "constants": {"owner": "IT"},
}


@pytest.fixture
def listed(app: Flask, user: Client, upload: Upload) -> Body:
    """The mapping that the user remembers of a corrected list."""
    import_ = upload(user, Liste=LIST)
    patch = {"sheets": {"Liste": READ}, "remember": "Liste"}
    user.call("PATCH", f"/api/imports/{import_['id']}", expect=202, json=patch)
    runner_of(app).run_pending()
    (mapping,) = remembered(user)
    return mapping


def test_a_correction_is_remembered_with_resource_values_and_constants(
    user: Client, upload: Upload, listed: Body
) -> None:
    assert (listed["mapping"], listed["resources"]) == ({"Gerät": "name", "Zustand": "status"}, ["servers"])
    again = upload(user, Neu=[("Farbe", "Zustand", "Gerät"), ("rot", "defekt", "n2")])
    (row,) = rows_of(user, again)
    new = {name: change["new"] for name, change in row["changes"].items()}
    assert (row["resource"], new["name"], new["status"], new["owner"]) == ("servers", "n2", "offline", "IT")
    assert new["attributes"] == {"farbe": "rot"}


def test_what_is_set_of_an_import_goes_before_what_was_saved(
    app: Flask, user: Client, upload: Upload, listed: Body
) -> None:
    import_ = upload(user, Neu=LIST)
    sheet = {"values": {"status": {"läuft": "maintenance"}}, "constants": {"owner": "Bau"}}
    user.call("PATCH", f"/api/imports/{import_['id']}", expect=202, json={"sheets": {"Neu": sheet}})
    runner_of(app).run_pending()
    changes = rows_of(user, import_)[0]["changes"]
    assert (changes["status"]["new"], changes["owner"]["new"]) == ("maintenance", "Bau")


def test_a_saved_mapping_of_another_resource_does_not_apply(user: Client, upload: Upload, listed: Body) -> None:
    import_ = upload(user, Assets=LIST)
    assert not any("saved" in note for note in import_["sheets"][0]["notes"])


def test_a_shared_mapping_applies_to_the_sheets_of_everybody(
    user: Client, other: Client, admin: Client, upload: Upload, listed: Body
) -> None:
    path = f"/api/imports/mappings/{listed['id']}"
    other.call("PATCH", path, expect=404, json={"shared": True})
    shared = user.call("PATCH", path, json={"shared": True, "name": "Inventar"})["data"]
    assert remembered(other) == remembered(admin) == [shared]
    import_ = upload(other, Neu=LIST)
    assert import_["sheets"][0]["notes"][-1] == (
        f"This sheet is read as {shared['owner']} saved it under the name Inventar."
    )
    assert rows_of(other, import_)[0]["changes"]["status"]["new"] == "active"
    for method, body in (("PATCH", {"shared": False}), ("DELETE", None)):
        other.call(method, path, expect=403, json=body)
    assert admin.call("PATCH", path, json={"shared": False})["data"]["shared"] is False
    assert remembered(other) == []


def test_the_most_specific_mapping_applies_then_the_own_one_then_the_newest(
    user: Client, other: Client, upload: Upload, listed: Body
) -> None:
    def applied(*titles: str) -> str:
        import_ = upload(other, Neu=[titles, ("n1", "läuft", "R1")])
        return str(import_["sheets"][0]["notes"][-1].removesuffix(".").split()[-1])

    user.call("PATCH", f"/api/imports/mappings/{listed['id']}", json={"shared": True})
    assert applied("Gerät", "Zustand", "Platz") == "Liste"
    for name in ("erste", "zweite"):
        upload(
            other,
            form={"mapping": '{"Gerät": "name", "Zustand": null}', "resource": "servers", "remember": name},
            A=LIST,
        )
        assert applied("Gerät", "Zustand", "Platz") == name
    upload(user, form={**FORM, "remember": "breit"}, A=[("Gerät", "Zustand", "Platz"), ("n1", "x", "R1")])
    assert applied("Gerät", "Zustand", "Platz") == "zweite"


def test_a_name_is_used_once_by_its_owner(user: Client, upload: Upload, listed: Body) -> None:
    upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)
    path = f"/api/imports/mappings/{listed['id']}"
    assert user.call("PATCH", path, expect=422, json={"name": "Bestand"})["data"]["errors"].keys() == {"name"}
    assert user.call("PATCH", path, json={"name": "Liste"})["data"]["name"] == "Liste"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"mapping": "unknown"}, "mapping"),
        ({"mapping": '{"a": 1}'}, "mapping"),
        ({"mapping": '{"a\\u0000": "name"}'}, "mapping"),
        ({"mapping": '{"' + "a" * 300 + '": "name"}'}, "mapping"),
        ({"remember": "x"}, "remember"),
        ({"mapping": '{"a": "name"}', "remember": " "}, "remember"),
        ({"mapping": '{"a": "name"}', "remember": "x" * 101}, "remember"),
    ],
)
def test_invalid_mappings_and_names_are_refused(user: Client, form: dict[str, str], field: str) -> None:
    file = (BytesIO(workbook(Servers=[("Name",)])), "f.xlsx")
    answer = user.call("POST", "/api/imports", expect=422, data={**form, "file": file})
    assert set(answer["data"]["errors"]) == {field}
    assert remembered(user) == []


def test_form_fields_that_are_left_empty_are_as_if_not_sent(user: Client, upload: Upload) -> None:
    empty = dict.fromkeys(("resource", "mode", "match", "mapping", "remember", "extra", "apply"), "")
    import_ = upload(user, form=empty, Servers=[("Name",), ("a",)])
    assert (import_["status"], import_["mode"], import_["extra"]) == ("ready", "upsert", "keep")
    assert remembered(user) == []


def test_a_mapping_remembers_which_sheets_a_format_leaves_out_and_what_is_created(
    admin: Client, app: Flask, upload: Upload
) -> None:
    titles = ("VM", "Powerstate", "CPUs", "Memory", "Datacenter", "Annotation")
    sheets: dict[str, Any] = {
        "vInfo": [titles, ("vm-1", "poweredOn", 2, 4096, "DC 1", "x")],
        "vDisk": [("VM", "Powerstate", "Disk", "Datacenter"), ("vm-1", "poweredOn", "Hard disk 1", "DC 1")],
    }
    import_ = upload(admin, **sheets)
    patch = {"remember": "ours", "sheets": {"vInfo": {"columns": {"F": "owner"}}}}
    admin.call("PATCH", f"/api/imports/{import_['id']}", json=patch, expect=202)
    runner_of(app).run_pending()
    again = upload(admin, **sheets)
    assert {sheet["sheet"]: (sheet["format"], sheet["create"]) for sheet in again["sheets"]} == {
        "+ Datacenters": (None, 1), "vInfo": (None, 1), "vDisk": (None, 0),
    }  # fmt: skip
    assert again["sheets"][-1]["notes"] == [
        "The sheet is left out: ours does not need it. Set its resource to import it."
    ]
    assert rows_of(admin, again)[-1]["changes"]["owner"]["new"] == "x"
