"""What an import says of cells that it does not take, or does not take as they look."""

from io import BytesIO
from typing import Any

import pytest
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from tests.client import Client
from tests.features.conftest import Upload, errors_of, rows_of


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
