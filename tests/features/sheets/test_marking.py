"""Workbooks are marked in place; those that cannot be are refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.workbook import Workbook
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table

from app.sheets.marking.comment_editor import blocks_of
from app.sheets.marking.marks import Mark, RowMarks, SheetMarks
from app.sheets.marking.package_editor import mark
from app.sheets.marking.xml_edits import NotEditable
from tests.features.sheets.packages import (
    SHEET,
    Parts,
    parts_of,
    save,
    unchanged,
    with_prefix,
    without_comments,
    without_hints,
)

RED, YELLOW, NONE = "FFC7CE", "FFEB9C", "000000"


def book() -> Workbook:
    """Two sheets: formats, a formula, a merged area, a comment, a table, a validation, cells without values."""
    created = Workbook()
    page = created.active
    page.title = "Servers"
    page.append(("Fleet",))
    page.append(("Name", "Cores", "Rack", "Note"))
    page.append(("n1", 8, "R1", "=1+1"))
    page.append(("n2", "eight", "R1", "a <b> & c"))
    page.append(("n3", 8, None, None))
    page["A2"].font = Font(bold=True, color="FF0000FF")
    page["B4"].number_format = "0.00"
    page["C5"].fill = PatternFill("solid", fgColor="FF00FF00")
    page["H3"].fill = PatternFill("solid", fgColor="FF00FF00")
    page.merge_cells("C3:C4")
    page["A3"].comment = Comment("Mine.", "Somebody")
    page.add_table(Table(displayName="fleet", ref="A2:D5"))
    validation = DataValidation(type="list", formula1='"R1,R2"')
    validation.add("C3:C5")
    page.add_data_validation(validation)
    created.create_sheet("Notes").append(("left", "alone"))
    return created


def marks(status_column: int | None = None) -> list[SheetMarks]:
    rows = [
        RowMarks(2, None, [Mark(3, "error", "What is this?")]),
        RowMarks(3, "create", [Mark(0, "warning", "Ours.")]),
        RowMarks(
            4,
            "error",
            [Mark(1, "warning", "Hm."), Mark(1, "error", "Must be a <number>.\x0b"), Mark(2, "error", "No rack.")],
        ),
        RowMarks(5, "error", [Mark(2, "error", "Which?"), Mark(3, "error", "Absent."), Mark(None, "error", "A twin.")]),
    ]
    return [SheetMarks("Servers", 2, status_column, rows)]


def looks_of(path: Path) -> dict[str, dict[str, Any]]:
    """Value, comment, colour and number format of each cell, by sheet and address."""
    pages = openpyxl.load_workbook(path).worksheets
    return {
        page.title: {
            cell.coordinate: (
                cell.value,
                cell.comment and cell.comment.text,
                str(cell.fill.fgColor.rgb)[-6:],
                cell.number_format,
            )
            for row in page.iter_rows()
            for cell in row
            if cell.value is not None or cell.comment or cell.has_style
        }
        for page in pages
    }


EXPECTED = {
    "A3": ("n1", "Mine.\nOurs.", YELLOW),
    "B4": ("eight", "Hm.\nMust be a <number>.\ufffd", RED),
    "C3": ("R1", "No rack.", RED),
    "C5": (None, "Which?", RED),
    "D2": ("Note", "What is this?", RED),
    "D5": (None, "Absent.", RED),
    "E2": ("_import", None, NONE),
    "E3": ("create", None, NONE),
    "E4": ("error", None, NONE),
    "E5": ("error", "A twin.", RED),
}
"""Value, comment and colour of the cells that the marks change."""


@pytest.mark.parametrize("variant", [unchanged, with_prefix, without_hints, without_comments])
def test_marks_are_added_and_all_other_cells_keep_their_look(tmp_path: Path, variant: Callable[[Parts], Parts]) -> None:
    original, marked = tmp_path / "original.xlsx", tmp_path / "marked.xlsx"
    book().save(original)
    save(original, variant(parts_of(original)))
    mark(str(original), str(marked), marks())
    before, after = looks_of(original), looks_of(marked)
    expected = {cell: look[:3] for cell, look in before["Servers"].items()} | EXPECTED
    if variant is without_comments:
        expected["A3"] = ("n1", "Ours.", YELLOW)
    assert {cell: look[:3] for cell, look in after["Servers"].items()} == expected
    assert after["Notes"] == before["Notes"]
    page = openpyxl.load_workbook(marked)["Servers"]
    assert page["B4"].number_format == "0.00"
    assert (list(page.tables), str(page.merged_cells)) == (["fleet"], "C3:C4")
    assert page.data_validations.dataValidation[0].formula1 == '"R1,R2"'


def test_parts_without_marks_stay_the_same_bytes(tmp_path: Path) -> None:
    original, marked = tmp_path / "original.xlsx", tmp_path / "marked.xlsx"
    book().save(original)
    mark(str(original), str(marked), marks())
    before, after = parts_of(original), parts_of(marked)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {SHEET, "xl/styles.xml", "xl/comments/comment1.xml", "xl/drawings/commentsDrawing1.vml"}
    # What is new stands between what was there.
    assert [part for part in re.findall(rb"<[^<]*", before[SHEET]) if part.startswith(b"<f")] == [
        part for part in re.findall(rb"<[^<]*", after[SHEET]) if part.startswith(b"<f")
    ]


def test_a_marked_workbook_can_be_marked_again(tmp_path: Path) -> None:
    original, once, twice = (tmp_path / name for name in ("original.xlsx", "once.xlsx", "twice.xlsx"))
    book().save(original)
    mark(str(original), str(once), marks())
    mark(str(once), str(twice), marks(status_column=4))
    page = openpyxl.load_workbook(twice)["Servers"]
    assert [cell.value for cell in page["E"]] == [None, "_import", "create", "error", "error"]
    assert page["C5"].comment.text == "Which?\nWhich?"
    assert page["A3"].comment.text == "Mine.\nOurs.\nOurs."
    assert page.max_column == 8


def test_shape_ids_of_comments_are_unique(tmp_path: Path) -> None:
    created = Workbook(write_only=True)
    sheets = []
    for title in ("A", "B"):
        page = created.create_sheet(title)
        page.append(("Name",))
        for row in range(2, 1500):
            page.append((f"n{row}",))
        rows = [RowMarks(row, "error", [Mark(0, "error", "No.")]) for row in range(2, 1500)]
        sheets.append(SheetMarks(title, 1, None, rows))
    original, marked = tmp_path / "original.xlsx", tmp_path / "marked.xlsx"
    created.save(original)
    mark(str(original), str(marked), sheets)
    shapes = b"".join(content for name, content in parts_of(marked).items() if name.endswith(".vml"))
    numbers = re.findall(rb'v:shape id="_x0000_s(\d+)"', shapes)
    assert len(numbers) == len(set(numbers)) == 2 * 1498
    blocks = [int(block) for data in re.findall(rb'data="([\d,]+)"', shapes) for block in data.split(b",")]
    assert len(blocks) == len(set(blocks)) == 4
    assert {int(number) // 1024 for number in numbers} <= set(blocks)


def test_blocks_of_shape_ids_are_large_enough() -> None:
    assert [blocks_of([None] * count) for count in (1, 1023, 1024)] == [1, 1, 2]  # type: ignore[list-item]


def macros(parts: Parts) -> Parts:
    name = "[Content_Types].xml"
    return {**parts, name: parts[name].replace(b"spreadsheetml.sheet.main", b"sheet.macroEnabled.main")}


def entities(parts: Parts) -> Parts:
    return {**parts, SHEET: b"<!DOCTYPE worksheet [<!ENTITY a 'b'>]>" + parts[SHEET]}


def another_encoding(parts: Parts) -> Parts:
    return {**parts, SHEET: b"<?xml version='1.0' encoding='ISO-8859-1'?>" + parts[SHEET]}


def strict_namespace(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET].replace(b"schemas.openxmlformats.org/spreadsheetml", b"purl.oclc.org/ooxml")}


def cut(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET][:-40]}


def threaded_comments(parts: Parts) -> Parts:
    (name,) = (name for name in parts if name.endswith("sheet1.xml.rels"))
    kind = "http://schemas.microsoft.com/office/2017/10/relationships/threadedComment"
    more = f'<Relationship Id="rId99" Type="{kind}" Target="/xl/threadedComments/1.xml"/></Relationships>'
    return {**parts, name: parts[name].replace(b"</Relationships>", more.encode())}


def repeated_row(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET].replace(b'<row r="5"', b'<row r="4"')}


@pytest.mark.parametrize(
    "variant", [macros, entities, another_encoding, strict_namespace, cut, threaded_comments, repeated_row]
)
def test_workbooks_that_cannot_be_edited_are_refused(tmp_path: Path, variant: Callable[[Parts], Parts]) -> None:
    original = tmp_path / "original.xlsx"
    book().save(original)
    save(original, variant(parts_of(original)))
    with pytest.raises(NotEditable):
        mark(str(original), str(tmp_path / "marked.xlsx"), marks())


def test_a_computed_status_is_refused(tmp_path: Path) -> None:
    original = tmp_path / "original.xlsx"
    created = book()
    created["Servers"]["E2"], created["Servers"]["E3"] = "_import", "=A3"
    created.save(original)
    with pytest.raises(NotEditable):
        mark(str(original), str(tmp_path / "marked.xlsx"), marks(status_column=4))
