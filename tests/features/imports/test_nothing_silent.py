"""What an import says of cells that it does not take, or does not take as they look."""

from io import BytesIO
from typing import Any

import pytest
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from app.core.jobs.runner import runner_of
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import Upload, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database


def warnings_of(import_: dict[str, Any]) -> list[tuple[str, Any]]:
    """(rule, first cells or column) of the warnings about sheets as a whole."""
    return [
        (warning["rule"], warning.get("cells") or warning.get("column"))
        for sheet in import_["sheets"]
        for warning in sheet["sheet_warnings"]
    ]


def test_the_unit_of_a_title_counts_through_a_mapping(admin: Client, upload: Upload) -> None:
    mapping = '{"Memory (MB)": "memory_gb", "Disk [TB]": "disk_gb", "Size GB": "disk_gb"}'
    rows = [("Name", "Memory (MB)", "Disk [TB]"), ("n1", 65536, 2)]
    import_ = upload(admin, form={"mapping": mapping}, Servers=rows)
    (row,) = rows_of(admin, import_)
    assert (row["changes"]["memory_gb"]["new"], row["changes"]["disk_gb"]["new"]) == (64, 2048)


@pytest.mark.parametrize(
    ("resource", "title", "cell", "stored", "meant"),
    [
        ("Servers", "Memory", 16384, 16384, "16,384 GB is very much for Memory: did you mean MB?"),
        ("Servers", "Memory (MB)", 16384, 16, None),
        ("Servers", "Disk", "512000", 512000, "did you mean MB?"),
        ("Servers", "CPU cores", 100_000, 100_000, "did you mean milli?"),
        ("GPUs", "Memory", 80, 80, "80 MB is very little for Memory: did you mean GB?"),
        ("GPUs", "Memory", "80 GB", 81920, None),
        ("Containers", "CPU", 500, 500, "did you mean milli?"),
        ("Containers", "Memory", 0, 0, None),
    ],
)
def test_a_number_out_of_proportion_is_warned_about(
    resource: str, title: str, cell: Any, stored: float, meant: str | None, admin: Client, make: Make, upload: Upload
) -> None:
    make(Server, name="n1")
    rows = [("Name", "Model", "Server", title), *[(f"a{n}", "T4", "n1", cell) for n in range(2)]]
    import_ = upload(admin, **{resource: rows})
    for row in rows_of(admin, import_):
        assert stored in [change["new"] for change in row["changes"].values()]
        assert [warning["rule"] for warning in row["warnings"]] == (["proportion"] if meant else [])
        assert all((meant or "") in warning["message"] for warning in row["warnings"])


@pytest.mark.parametrize(
    ("title", "cell", "is_warned"),
    [
        ("Serial number", 123456789012345, False),
        ("Serial number", 1234567890123450, True),
        ("Asset code", 1234567890123450, True),
        ("Asset code", "1234567890123456", False),
        ("Asset code", 123456789012345, False),
    ],
)
def test_numbers_with_more_digits_than_excel_keeps_are_warned_about(
    title: str, cell: Any, is_warned: bool, admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[("Name", title), ("n1", cell), ("n2", cell)])
    places = [(w["cell"], w["rule"]) for row in rows_of(admin, import_) for w in row["warnings"]]
    assert places == ([("B2", "digits"), ("B3", "digits")] if is_warned else [])
    assert import_["sheets"][0]["create"] == 2


def test_numbers_that_excel_shortened_in_text_are_warned_about(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, content=b"Name,SN,Code\nn1,1.23457E+15,4.5E+11\nn2,SN-1E+22,x\n", filename="servers.csv")
    rows = rows_of(admin, import_)
    assert [(w["cell"], w["rule"]) for row in rows for w in row["warnings"]] == [("B2", "digits"), ("C2", "digits")]


def test_codes_are_read_with_the_leading_zeros_that_excel_shows(admin: Client, upload: Upload) -> None:
    book, page = sheet_of(("Name", "SN", "Code", "Memory"), ("n1", 42, 7, 8), (12, 1234567, "x", 16), ("n3", 42, 7, 8))
    for cell in (*page["B"], *page["C"], *page["D"], *page["A"]):
        cell.number_format = "00000"
    page["C4"].number_format = "General"
    import_ = upload(admin, content=saved(book))
    new = [{name: change["new"] for name, change in row["changes"].items()} for row in rows_of(admin, import_)]
    assert [(values["name"], values["serial_number"], values["memory_gb"]) for values in new] == [
        ("n1", "00042", 8),
        ("00012", "1234567", 16),
        ("n3", "00042", 8),
    ]
    assert [values["attributes"]["code"] for values in new] == ["00007", "x", 7]


def test_cells_without_a_title_are_warned_about(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", None, "Rack"), ("a", 1, "R1"), ("b", None, "R2", "x"), ("c", 2, "R3")])
    assert warnings_of(import_) == [("untitled_column", ["B2", "B4"]), ("untitled_column", ["D3"])]
    assert (import_["status"], import_["sheets"][0]["warnings"]) == ("ready", 2)


@pytest.mark.parametrize(
    ("line", "cells"), [("r2,Dell, Inc. R640,A1", "4 cells, more"), ("r2,Dell", "2 cells, fewer"), ("r2,R640,A1,,", "")]
)
def test_lines_with_more_or_fewer_cells_than_titles_are_errors(
    line: str, cells: str, admin: Client, upload: Upload
) -> None:
    content = f"Name,Model,Rack\nr1,R640,\n{line}\n".encode()
    import_ = upload(admin, content=content, filename="servers.csv")
    assert errors_of(admin, import_) == ([("servers", 3, None, "cells")] if cells else [])
    assert all(cells in error["message"] for row in rows_of(admin, import_, "error") for error in row["errors"])


def test_a_typo_is_read_as_the_field_with_a_warning(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Hostnmae"), ("n1", "n1.example.com"), ("n2", "x" * 999)])
    assert warnings_of(import_) == [("misspelt_column", "B")]
    assert rows_of(admin, import_)[0]["changes"]["hostname"]["new"] == "n1.example.com"
    assert errors_of(admin, import_) == [("Servers", 3, "B3", "length")]


def test_a_suspected_misspelling_stays_an_attribute_and_hides_no_errors(admin: Client, upload: Upload) -> None:
    titles = ("Name", "Comment", "CPU1", "CPU2", "Rack units", "Note1", "Memory")
    import_ = upload(admin, Servers=[titles, ("n1", "x", "a", "b", 2, "y", "much")])
    assert errors_of(admin, import_) == [("Servers", 2, "G2", "number")]
    assert import_["sheets"][0]["problems"] == []
    assert all(column["use"] in ("field", "attribute") for column in import_["sheets"][0]["columns"])
    assert {"cpu1", "cpu2", "rack_units", "note1"} <= {c["attribute"] for c in import_["sheets"][0]["columns"]}


def saved(book: Workbook) -> bytes:
    content = BytesIO()
    book.save(content)
    return content.getvalue()


def sheet_of(*rows: tuple[Any, ...]) -> tuple[Workbook, Worksheet]:
    book = Workbook()
    page = book.active
    assert isinstance(page, Worksheet)
    page.title = "Servers"
    for row in rows:
        page.append(row)
    return book, page


def test_formulas_without_a_stored_value_are_errors_of_fields(admin: Client, upload: Upload) -> None:
    book, _ = sheet_of(("Name", "Memory (GB)", "Rank"), ("n1", "=64*2", "=1+1"), ("=A2", 64, 1))
    import_ = upload(admin, content=saved(book))
    assert errors_of(admin, import_) == [("Servers", 2, "B2", "formula"), ("Servers", 3, "A3", "formula")]
    (warning,) = rows_of(admin, import_)[0]["warnings"]
    assert (warning["cell"], warning["rule"]) == ("C2", "formula")


def test_error_values_of_attributes_are_left_out_with_a_warning(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Rank"), ("n1", "#N/A")])
    (row,) = rows_of(admin, import_)
    assert [(warning["cell"], warning["rule"]) for warning in row["warnings"]] == [("B2", "excel_error")]
    assert "attributes" not in row["changes"]


def test_merged_cells_count_for_each_of_their_rows(admin: Client, upload: Upload) -> None:
    book, page = sheet_of(("Name", "Rack", "OS"), ("a", "R1", "x"), ("b", None, "y"), ("c", None, None))
    page.merge_cells("B2:B5")
    import_ = upload(admin, content=saved(book))
    assert [row["changes"]["rack"]["new"] for row in rows_of(admin, import_)] == ["R1", "R1", "R1"]
    assert import_["sheets"][0]["notes"] == ["The value of merged cells counts for each of their rows: B2:B5."]


def test_what_is_hidden_is_imported_with_a_warning(admin: Client, upload: Upload) -> None:
    book, page = sheet_of(("Name", "Rack", "OS"), ("a", "R1", "x"), ("b", "R2", "y"))
    page.row_dimensions[3].hidden = True
    page.column_dimensions["B"].hidden = True
    book.create_sheet("Datacenters").append(("Name",))
    book["Datacenters"].append(("SH-1",))
    book["Datacenters"].sheet_state = "hidden"
    import_ = upload(admin, content=saved(book))
    assert warnings_of(import_) == [("hidden_sheet", None), ("hidden_rows", ["3"]), ("hidden_columns", ["B"])]
    assert sum(sheet["create"] for sheet in import_["sheets"]) == 3


def test_a_row_of_data_is_not_taken_for_titles_because_of_an_alias(admin: Client, upload: Upload) -> None:
    content = b"Service Label,Device Label,Device Kind\nABC1,srv-a,Server\nABC2,srv-b,Storage\n"
    import_ = upload(admin, content=content, filename="servers.csv")
    assert [problem["rule"] for problem in import_["sheets"][0]["problems"]] == ["no_header"]


def test_rows_above_the_titles_are_named(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Our machines",), (), ("Name", "Rack"), ("a", "R1")])
    assert import_["sheets"][0]["notes"] == ["Left out because they are above the titles: row 1."]


def test_a_second_row_of_titles_is_warned_about(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Rack"), ("a", "R1"), ("Name", "Rack"), ("b", "R2")])
    assert [warning["rule"] for warning in import_["sheets"][0]["sheet_warnings"]] == ["header_row"]


MACHINES = ("Name", "CPU Cores", "Memory (GB)"), ("a", 32, 128), ("b", 32, 128)


@pytest.mark.parametrize(
    ("below", "left_out"),
    [
        ([("Total", 64, 256), (), ("Note: prices without VAT",), ("合计", 64)], ["4", "6", "7"]),
        ([("Subtotal", "64 pcs", "=SUM(C2:C3)"), ("c", 8, 64), ("Sum", 72, 320)], ["4", "6"]),
        ([("Gesamt:", 64, 256), (), ("Примечание: без НДС",), ("합계", 64), ("Sous-total", 64)], ["4", "6", "7", "8"]),
        ([(), ("Printed on Monday by the office",), ("All rights reserved",)], ["5", "6"]),
        ([(), ("Rack two",), ("c", 8, 64)], []),
        ([("Total", "Xeon", 64)], []),
        ([(), ("c",), (), ("Name-1", 8, 64)], []),
    ],
)
def test_totals_and_notes_are_left_out_with_a_warning(
    below: list[tuple[Any, ...]], left_out: list[str], admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[*MACHINES, *below])
    assert warnings_of(import_) == ([("totals_and_notes", left_out)] if left_out else [])
    rows = [str(number) for number, row in enumerate(below, 4) if row and str(number) not in left_out]
    assert [str(row["row"]) for row in rows_of(admin, import_)] == ["2", "3", *rows]


def test_totals_and_notes_of_text_may_have_fewer_cells(admin: Client, upload: Upload) -> None:
    content = b"Name,CPU Cores,Memory (GB)\na,32,128\nb,32,128\nTotal,64\n\nNote: without VAT\n"
    import_ = upload(admin, content=content, filename="servers.csv")
    assert (import_["status"], warnings_of(import_)) == ("ready", [("totals_and_notes", ["4", "6"])])


def test_rows_that_are_left_out_are_named(admin: Client, upload: Upload) -> None:
    rows = [("Name", "Rack"), ("string", "string"), ("a", "R1"), ("b", "R2"), (), ("c", "R3")]
    import_ = upload(admin, Servers=rows, _prices=[("Name", "Rack", "OS", "Owner")])
    assert import_["sheets"][0]["notes"] == ["Left out because they explain the titles: row 2."]
    assert ["underscore" in note for note in import_["sheets"][1]["notes"]] == [True]
    path = f"/api/imports/{import_['id']}"
    admin.call("PATCH", path, expect=202, json={"sheets": {"Servers": {"last_row": 3}}})
    runner_of(admin.app).run_pending()
    (note,) = admin.call("GET", path)["data"]["sheets"][0]["notes"][1:]
    assert note == "Left out because they are below the last row, as it was set: row 4, 6."


@pytest.mark.parametrize(
    ("below", "left_out"),
    [
        ([("Switches",), ("Name", "Ports"), ("sw-1", 48), ("sw-2", 24)], ["5", "6", "7", "8"]),
        ([("Name", "Datacenter", "Model"), ("gpu-1", "SH-1", "A100"), (), ("gpu-2", "SH-1", "A100")], ["5", "6", "8"]),
        ([MACHINES[0], ("c", 8, 64)], ["5"]),
        ([("Name-3", 8, 64), ("Server", "Storage")], []),
    ],
)
def test_another_table_on_the_sheet_is_left_out_with_a_warning(
    below: list[tuple[Any, ...]], left_out: list[str], admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[*MACHINES, (), *below])
    warnings = [warning for warning in warnings_of(import_) if warning[0] != "header_row"]
    assert warnings == ([("second_table", left_out)] if left_out else [])
    assert not {row["row"] for row in rows_of(admin, import_)} & set(map(int, left_out))


def test_a_serial_number_that_nobody_knows_identifies_nothing(admin: Client, upload: Upload) -> None:
    titles = ("Name", "Type", "Asset tag", "Serial number")
    unknown = [("unknown", "TBD"), ("TBD", "000000"), ("?", "System Serial Number"), ("x", "Unbekannt"), (0, "'TBD")]
    rows = [titles, *((f"pc-{at}", "desktop", *cells) for at, cells in enumerate(unknown))]
    import_ = upload(admin, Assets=rows, form={"apply": "true"})
    assert import_["status"] == "applied"
    shown = {(group["rule"], group["field"], group["count"]) for group in import_["sheets"][0]["messages"]}
    assert shown == {("no_identifier", "asset_tag", 5), ("no_identifier", "serial_number", 4)}
    assets = admin.call("GET", "/api/assets?sort=id")["data"]
    assert [(asset["asset_tag"], asset["serial_number"]) for asset in assets] == [(None, None)] * 4 + [(None, "TBD")]


def test_an_address_of_zeros_is_none(admin: Client, upload: Upload, make: Make) -> None:
    make(Datacenter, name="North")
    rows = [(f"s{at}", "North", "0.0.0.0", "00:00:00:00:00:00") for at in range(2)]
    import_ = upload(admin, Servers=[("Name", "Datacenter", "IP", "MAC"), *rows])
    assert (import_["status"], import_["sheets"][0]["create"]) == ("ready", 2)
    assert [(group["rule"], group["count"]) for group in import_["sheets"][0]["messages"]] == [("no_identifier", 2)] * 2


def test_an_attribute_by_which_rows_match_is_no_placeholder(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Cmdb id"), ("a", "unknown"), ("b", "7")])
    path = f"/api/imports/{import_['id']}"
    admin.call("PATCH", path, expect=202, json={"sheets": {"Servers": {"match": ["attributes.cmdb_id"]}}})
    runner_of(admin.app).run_pending()
    (group,) = admin.call("GET", path)["data"]["sheets"][0]["messages"]
    assert (group["rule"], group["values"]) == ("no_identifier", [{"value": "unknown", "count": 1}])


@pytest.mark.parametrize(
    ("below", "left_out", "errors"),
    [
        ("Exported by Ida on Monday\n", ["4"], 0),
        ("\nExported by Ida\nPrices are net\n", ["5", "6"], 0),
        ("a note within\nc,R3\n", [], 1),
        ("serv", [], 1),
    ],
)
def test_a_note_below_delimited_text(
    below: str, left_out: list[str], errors: int, admin: Client, upload: Upload
) -> None:
    content = f"Name,Rack\na,R1\nb,R2\n{below}".encode()
    import_ = upload(admin, content=content, filename="servers.csv")
    assert warnings_of(import_) == ([("totals_and_notes", left_out)] if left_out else [])
    assert import_["sheets"][0]["error"] == errors
