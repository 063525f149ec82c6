"""What a file says and a value cannot: inexact words, prefix lengths and currencies are told."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.catalog import IMPORTABLE
from app.core.jobs.runner import runner_of
from app.core.values import Inexact
from app.imports.formats import service as formats
from app.imports.parse.cells import reader_of
from app.resource import Kind
from app.sheets.cells import Guess
from tests.client import Body, Client
from tests.features.conftest import Upload, rows_of
from tests.spread import any_database

pytestmark = any_database

CHOICES = [
    (resource.name, item, member, word)
    for resource in IMPORTABLE.values()
    for item in resource.fields.values()
    if item.kind is Kind.CHOICE and item.choices is not None and not item.read_only
    for member in item.choices
    for word in (member.value, *member.aliases)
]


def groups(import_: Body, sheet: int = 0) -> list[tuple[Any, ...]]:
    return [
        (group["rule"], group["field"], group["count"], [value["value"] for value in group["values"]])
        for group in import_["sheets"][sheet]["messages"]
    ]


def test_of_all_words_for_a_value_exactly_the_inexact_ones_are_guesses() -> None:
    for resource, item, member, word in CHOICES:
        read = reader_of(item)(word)
        expected = (Guess, member) if isinstance(word, Inexact) else (type(member), member)
        value = read.value if isinstance(read, Guess) else read
        assert (type(read), value) == expected, (resource, item.name, word)
    assert sum(isinstance(word, Inexact) for *_, word in CHOICES) > 30


def test_an_inexact_word_is_told_once_for_each_value_that_it_is_read_as(
    user: Client, app: Flask, upload: Upload
) -> None:
    words = ["PDU", "ups", "ups", "Switch", "router", "laptop", "notebook"]
    import_ = upload(user, Assets=[("Name", "Type"), *((f"a-{number}", word) for number, word in enumerate(words))])
    assert import_["status"] == "ready"
    assert groups(import_) == [
        ("inexact", "asset_type", 3, ["ups", "PDU"]),
        ("inexact", "asset_type", 2, ["Switch", "router"]),
    ]
    other, network = (group["message"] for group in import_["sheets"][0]["messages"])
    assert other.startswith("“PDU” is read as other, which does not say quite the same: set in the plan what it means")
    assert network.startswith("“Switch” is read as network,")
    assert import_["sheets"][0]["warnings"] == 5
    rows = rows_of(user, import_)
    assert [len(row["warnings"]) for row in rows] == [1, 1, 1, 1, 1, 0, 0]
    values = {"asset_type": {"pdu": "other", "ups": "other", "switch": "network", "router": "network"}}
    path = f"/api/imports/{import_['id']}"
    user.call("PATCH", path, json={"sheets": {"Assets": {"values": values}}}, expect=202)
    runner_of(app).run_pending()
    corrected = user.call("GET", path)["data"]
    assert (corrected["status"], groups(corrected), corrected["sheets"][0]["warnings"]) == ("ready", [], 0)


def test_who_sets_an_inexact_word_for_all_rows_means_its_value(user: Client, upload: Upload) -> None:
    import_ = upload(user, form={"constants": '{"asset_type": "switch"}'}, Assets=[("Name",), ("a-1",)])
    assert (import_["status"], import_["sheets"][0]["warnings"]) == ("ready", 0)
    (row,) = rows_of(user, import_)
    assert row["changes"]["asset_type"]["new"] == "network"


def test_an_inexact_value_of_a_format_is_told_with_what_the_file_says(
    admin: Client, app: Flask, upload: Upload
) -> None:
    lines = [f"web-{number},{status},North,R1,Web,Dell,R640,{number}" for number, status in enumerate(
        ["Active", "Offline", "Planned", "Planned", "Staged", "Decommissioning"], 1
    )]  # fmt: skip
    content = "\n".join(["Name,Status,Site,Rack,Role,Manufacturer,Type,Position (U)", *lines])
    import_ = upload(admin, content=content.encode(), filename="netbox.csv")
    assert (import_["status"], import_["sheets"][1]["format"]) == ("ready", "NetBox devices")
    assert groups(import_, 1) == [
        ("inexact", "status", 3, ["Planned", "Staged"]),
        ("inexact", "status", 1, ["Decommissioning"]),
    ]
    planned = [row for row in rows_of(admin, import_) if row["sheet"] == import_["sheets"][1]["sheet"]]
    assert [row["changes"]["status"]["new"] for row in planned] == ["active", *["offline"] * 4, "retired"]
    assert [row["changes"]["rack_unit"]["new"] for row in planned] == [1, 2, 3, 4, 5, 6]
    # What a person has saved of a format is what they mean.
    path = f"/api/imports/{import_['id']}"
    admin.call("PATCH", path, json={"remember": "ours", "sheets": {"netbox": {"columns": {"E": "owner"}}}}, expect=202)
    runner_of(app).run_pending()
    again = upload(admin, content=content.encode(), filename="netbox.csv")
    assert [(sheet["create"], sheet["format"]) for sheet in again["sheets"]] == [(1, None), (6, None)]
    assert groups(again, 1) == []


def test_prefixes_and_currencies_are_told(user: Client, upload: Upload) -> None:
    addresses = ["10.0.0.7/24", "10.0.0.8/32", "10.0.0.9", "fd00::1/64", "fd00::2/128"]
    import_ = upload(user, Servers=[("Name", "Internal IP"), *((f"s-{cell}", cell) for cell in addresses)])
    assert import_["status"] == "ready"
    assert groups(import_) == [("prefix_length", "internal_ip", 2, ["10.0.0.7/24", "fd00::1/64"])]
    new = [row["changes"]["internal_ip"]["new"] for row in rows_of(user, import_)]
    assert new == [address.partition("/")[0] for address in addresses]
    assets = [("Name", "Type", "Price"), ("a", "laptop", "€1,299.00"), ("b", "laptop", "$5"), ("c", "laptop", 7)]
    priced = upload(user, Assets=assets)
    assert (priced["status"], sorted(groups(priced))) == (
        "ready",
        [("currency", "purchase_price", 1, ["$5"]), ("currency", "purchase_price", 1, ["€1,299.00"])],
    )


@pytest.mark.parametrize("title", ["Status", "attributes.state"])
def test_inexact_values_of_a_format_are_of_fields(title: str, tmp_path: Path) -> None:
    content = 'name = "Ours"\nresource = "servers"\nknown_by = [["Gerät", "Schrank"]]\n'
    (tmp_path / "ours.toml").write_text(f'{content}[inexact."{title}"]\n"an" = "active"\n', "utf-8")
    with pytest.raises(formats.FormatError) as refused:
        formats.read_folder(tmp_path)
    assert f"inexact.{title}: " in str(refused.value)
