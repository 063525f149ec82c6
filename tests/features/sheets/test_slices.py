"""A large worksheet is read in slices of rows, as if it were read as a whole."""

import random
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
import xlsxwriter
from openpyxl.worksheet.worksheet import Worksheet

from app.sheets.sandbox import sheet_slices, workbook_program

Lines = list[Any]


class Recorder:
    """An output that keeps what a program writes."""

    def __init__(self) -> None:
        self.lines: Lines = []

    def begin(self, sheet: str, **facts: Any) -> None:
        self.lines.append((sheet, facts))

    def write(self, row: list[Any]) -> None:
        self.lines.append(row)


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """Two sheets with texts, numbers, dates, errors, formulas without values, merged and hidden cells, and gaps."""
    book = openpyxl.Workbook()
    first = book.active
    assert isinstance(first, Worksheet)
    rng = random.Random(7)
    number = 0
    for number in sorted(rng.sample(range(3, 900), 400)):
        for column in rng.sample(range(2, 9), 4):
            kinds = ("shared", f"text {number} <&>", number * 1.5, True, "#N/A", f"=A{number}*2", "007")
            first.cell(number, column, rng.choice(kinds))
    first.cell(number + 5, 3, "=1+1")
    first.merge_cells("B10:B40")
    first.merge_cells(start_row=500, end_row=800, start_column=7, end_column=7)
    first["B10"], first["G500"] = "merged", "down"
    first.row_dimensions[12].hidden = first.row_dimensions[700].hidden = True
    first.column_dimensions["C"].hidden = True
    first.cell(600, 4, 7).number_format = "00000"
    book.create_sheet("Second").append(["alone"])
    path = tmp_path / "whole.xlsx"
    book.save(path)
    return path


def read(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_bytes: int | None = None) -> Lines:
    """What the program prints; with slices of so many bytes, each sheet must have been cut or left whole on purpose."""
    folder = tmp_path / f"read-{slice_bytes}"
    folder.mkdir()
    shutil.copyfile(path, folder / "workbook")
    if slice_bytes is not None:
        monkeypatch.setattr(sheet_slices, "MAX_BYTES", 0)
        monkeypatch.setattr(sheet_slices, "SLICE_BYTES", slice_bytes)
    output: Any = Recorder()
    options = {"path": str(folder / "workbook"), "sheets": 10, "columns": 512, "has_special_cells": True}
    workbook_program.run(options, output)
    lines: Lines = output.lines
    return lines


def slices_in(tmp_path: Path, slice_bytes: int) -> int:
    return len(list((tmp_path / f"read-{slice_bytes}").glob("rows-*.xlsx")))


@pytest.mark.parametrize("slice_bytes", [2_000, 7_919, 20_000, 1 << 20])
def test_slices_hold_the_same_rows(
    workbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_bytes: int
) -> None:
    whole = read(workbook, tmp_path, monkeypatch)
    assert {"merged", "hidden_rows", "hidden_columns"} <= whole[0][1]["layout"].keys()
    assert len(whole) > 800
    assert read(workbook, tmp_path, monkeypatch, slice_bytes) == whole
    assert slices_in(tmp_path, slice_bytes) >= (1 if slice_bytes > 100_000 else 3)


def without_row_numbers(content: bytes) -> bytes:
    return content.replace(b'<row r="', b'<row x="')


def with_a_comment(content: bytes) -> bytes:
    return content.replace(b"</row>", b'</row><!-- <row r="9999"></row> -->', 1)


def out_of_order(content: bytes) -> bytes:
    """The last row stands first."""
    start, end = content.index(b"<sheetData>") + 11, content.index(b"</sheetData>")
    last = content.rindex(b"<row ", start, end)
    return content[:start] + content[last:end] + content[start:last] + content[end:]


def much_below_the_rows(content: bytes) -> bytes:
    return content.replace(b"</sheetData>", b"</sheetData>" + b" " * 50_000)


@pytest.mark.parametrize("change", [without_row_numbers, with_a_comment, out_of_order, much_below_the_rows])
def test_a_sheet_that_cannot_be_cut_is_read_as_a_whole(
    workbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    changed = tmp_path / "changed.xlsx"
    with ZipFile(workbook) as before, ZipFile(changed, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, change(content) if name == "xl/worksheets/sheet1.xml" else content)
    whole = read(changed, tmp_path, monkeypatch)
    assert read(changed, tmp_path, monkeypatch, 5_000) == whole


@pytest.fixture
def shared_texts(tmp_path: Path) -> Path:
    """A workbook whose texts are in a part of their own, with dates."""
    path = tmp_path / "shared.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet, day = book.add_worksheet("Servers"), book.add_format({"num_format": "yyyy-mm-dd"})
        for number in range(300):
            sheet.write_row(number, 0, [f"node-{number}", "north", number])
            sheet.write_datetime(number, 3, date(2026, 1, 1) + timedelta(days=number), day)
    return path


def test_slices_know_the_shared_texts(shared_texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(shared_texts, tmp_path, monkeypatch)
    assert whole[-1] == ["node-299", "north", 299, date(2026, 10, 27)]
    assert read(shared_texts, tmp_path, monkeypatch, 5_000) == whole
    assert slices_in(tmp_path, 5_000) > 5
