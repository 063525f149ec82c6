"""Saved mappings of columns."""

from io import BytesIO
from typing import Any

import pytest

from tests.client import Body, Client
from tests.features.conftest import Upload, rows_of, workbook

SHEET: list[tuple[Any, ...]] = [("Gerät", "Platz", "Notiz"), ("n1", "R1", "geheim")]
FORM = {"mapping": '{"Gerät": "name", "Platz": "rack", "Notiz": null}', "resource": "servers"}


def remembered(client: Client) -> list[Body]:
    mappings: list[Body] = client.call("GET", "/api/imports/mappings")["data"]
    return mappings


def test_a_saved_mapping_is_used_for_the_same_titles(user: Client, upload: Upload) -> None:
    assert upload(user, form={**FORM, "remember": "Bestand"}, Bestand=SHEET)["status"] == "ready"
    (kept,) = remembered(user)
    assert (kept["name"], kept["resources"], kept["used_at"]) == ("Bestand", ["servers"], None)
    assert kept["mapping"] == {"Gerät": "name", "Platz": "rack", "Notiz": None}
    again = upload(user, Tabelle1=[("Inventar 2027",), ("Notiz", "Gerät ", "Platz"), ("x", "n2", "R2")])
    assert again["status"] == "ready"
    (row,) = rows_of(user, again)
    assert (row["resource"], row["changes"]["name"]["new"], row["changes"]["rack"]["new"]) == ("servers", "n2", "R2")
    assert again["sheets"][0]["notes"][-1] == "Its columns are mapped as you saved them under the name Bestand."
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
    (kept,) = remembered(user)
    assert kept["mapping"] == {"Gerät": "hostname"}
    for client in (other, admin):
        client.call("DELETE", f"/api/imports/mappings/{kept['id']}", expect=404)
    user.call("DELETE", f"/api/imports/mappings/{kept['id']}")
    assert remembered(user) == []
    assert upload(user, Bestand=SHEET)["problem"]["reason"] == "no_table"


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
