"""Marks that are put into the parts of a workbook, beside those of the library that writes all of it anew."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.workbook import Workbook
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table

from app.sheets.marking import edited, rewritten
from app.sheets.marking.comment_parts import blocks_of
from app.sheets.marking.facts import SheetMarks
from app.sheets.marking.splice import NotEditable

RED = "FFC7CE"
SHEET = "xl/worksheets/sheet1.xml"

Parts = dict[str, bytes]


def book() -> Workbook:
    """Two sheets: formats, a formula, a merged area, a comment, a table, a validation, cells without values."""
    made = Workbook()
    page = made.active
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
    made.create_sheet("Notes").append(("left", "alone"))
    return made


def marks(status_column: int | None = None) -> list[SheetMarks]:
    sheet = SheetMarks("Servers", 2, status_column)
    sheet.add(2, None, [(3, "error", "What is this?")])
    sheet.add(3, "create", [(0, "warning", "Ours.")])
    sheet.add(4, "error", [(1, "warning", "Hm."), (1, "error", "Must be a <number>.\x0b"), (2, "error", "No rack.")])
    sheet.add(5, "error", [(2, "error", "Which?"), (3, "error", "Absent."), (None, "error", "A twin.")])
    return [sheet]


def parts_of(path: Path) -> Parts:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def save(path: Path, parts: Parts) -> None:
    with ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def seen(path: Path) -> dict[str, dict[str, Any]]:
    """What somebody sees of each cell, by sheet and address."""
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


def same(parts: Parts) -> Parts:
    return parts


def with_prefix(parts: Parts) -> Parts:
    """As some programs write it: every name with a prefix."""
    text = re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1x:", parts[SHEET].decode()).replace('xmlns="', 'xmlns:x="')
    return {**parts, SHEET: text.encode()}


def without_hints(parts: Parts) -> Parts:
    """Without the numbers and the size that a sheet need not tell, and with a comment that looks like cells."""
    text = re.sub(r'(<row) r="\d+"( spans="[\d:]+")?', r"\1", parts[SHEET].decode())
    text = re.sub(r"<dimension [^>]*/>", "<!-- <row r='9'><c r='Z9'><v>1</v></c></row> -->", text)
    return {**parts, SHEET: text.encode()}


def without_own_comment(parts: Parts) -> Parts:
    """Nothing beside the sheet, not even a place for it."""
    gone = {name for name in parts if "omment" in name}
    kept = {name: content for name, content in parts.items() if name not in gone}
    for name, content in kept.items():
        if name.endswith((".rels", "[Content_Types].xml")):
            kept[name] = re.sub(rb"<(Relationship|Override) [^>]*(?:omments|vmlDrawing)[^>]*/>", b"", content)
    kept[SHEET] = re.sub(rb"<legacyDrawing [^>]*/>", b"", kept[SHEET])
    return kept


@pytest.mark.parametrize("variant", [same, with_prefix, without_hints, without_own_comment])
def test_editing_shows_what_writing_anew_would(tmp_path: Path, variant: Callable[[Parts], Parts]) -> None:
    original, ours, theirs = (tmp_path / name for name in ("original.xlsx", "ours.xlsx", "theirs.xlsx"))
    book().save(original)
    save(original, variant(parts_of(original)))
    edited.mark(str(original), str(ours), marks())
    rewritten.mark(str(original), str(theirs), marks_without_controls())
    found, expected, before = seen(ours), seen(theirs), seen(original)
    assert {cell: said[:3] for cell, said in found["Servers"].items()} == {
        cell: said[:3] for cell, said in expected["Servers"].items()
    }
    assert found["Notes"] == before["Notes"]
    assert found["Servers"]["B4"] == ("eight", "Hm.\nMust be a <number>.\ufffd", RED, "0.00")
    page = openpyxl.load_workbook(ours)["Servers"]
    assert [cell.value for cell in page["E"]] == [None, "_import", "create", "error", "error"]
    assert (list(page.tables), str(page.merged_cells)) == (["fleet"], "C3:C4")
    assert page.data_validations.dataValidation[0].formula1 == '"R1,R2"'


def marks_without_controls() -> list[SheetMarks]:
    """The library writes characters that no XML may hold, and cannot read them again."""
    (sheet,) = marks()
    for row in sheet.rows.values():
        row.marks = [(column, kind, text.replace("\x0b", "\ufffd")) for column, kind, text in row.marks]
    return [sheet]


def test_what_is_not_marked_stays_to_the_byte(tmp_path: Path) -> None:
    original, ours = tmp_path / "original.xlsx", tmp_path / "ours.xlsx"
    book().save(original)
    edited.mark(str(original), str(ours), marks())
    before, after = parts_of(original), parts_of(ours)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {SHEET, "xl/styles.xml", "xl/comments/comment1.xml", "xl/drawings/commentsDrawing1.vml"}
    # What is new stands between what was there.
    assert [part for part in re.findall(rb"<[^<]*", before[SHEET]) if part.startswith(b"<f")] == [
        part for part in re.findall(rb"<[^<]*", after[SHEET]) if part.startswith(b"<f")
    ]


def test_a_marked_workbook_is_marked_again(tmp_path: Path) -> None:
    original, once, twice = (tmp_path / name for name in ("original.xlsx", "once.xlsx", "twice.xlsx"))
    book().save(original)
    edited.mark(str(original), str(once), marks())
    edited.mark(str(once), str(twice), marks(status_column=4))
    page = openpyxl.load_workbook(twice)["Servers"]
    assert [cell.value for cell in page["E"]] == [None, "_import", "create", "error", "error"]
    assert page["C5"].comment.text == "Which?\nWhich?"
    assert page["A3"].comment.text == "Mine.\nOurs.\nOurs."
    assert page.max_column == 8


def test_each_comment_has_a_shape_of_its_own(tmp_path: Path) -> None:
    made = Workbook(write_only=True)
    sheets = []
    for title in ("A", "B"):
        page = made.create_sheet(title)
        page.append(("Name",))
        sheet = SheetMarks(title, 1, None)
        for row in range(2, 1500):
            page.append((f"n{row}",))
            sheet.add(row, "error", [(0, "error", "No.")])
        sheets.append(sheet)
    original, ours = tmp_path / "original.xlsx", tmp_path / "ours.xlsx"
    made.save(original)
    edited.mark(str(original), str(ours), sheets)
    shapes = b"".join(content for name, content in parts_of(ours).items() if name.endswith(".vml"))
    numbers = re.findall(rb'v:shape id="_x0000_s(\d+)"', shapes)
    assert len(numbers) == len(set(numbers)) == 2 * 1498
    blocks = [int(block) for data in re.findall(rb'data="([\d,]+)"', shapes) for block in data.split(b",")]
    assert len(blocks) == len(set(blocks)) == 4
    assert {int(number) // 1024 for number in numbers} <= set(blocks)


def test_blocks_are_enough() -> None:
    assert [blocks_of([None] * count) for count in (1, 1023, 1024)] == [1, 1, 2]  # type: ignore[list-item]


def macros(parts: Parts) -> Parts:
    name = "[Content_Types].xml"
    return {**parts, name: parts[name].replace(b"spreadsheetml.sheet.main", b"sheet.macroEnabled.main")}


def entities(parts: Parts) -> Parts:
    return {**parts, SHEET: b"<!DOCTYPE worksheet [<!ENTITY a 'b'>]>" + parts[SHEET]}


def another_encoding(parts: Parts) -> Parts:
    return {**parts, SHEET: b"<?xml version='1.0' encoding='ISO-8859-1'?>" + parts[SHEET]}


def another_language(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET].replace(b"schemas.openxmlformats.org/spreadsheetml", b"purl.oclc.org/ooxml")}


def cut(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET][:-40]}


def conversations(parts: Parts) -> Parts:
    (name,) = (name for name in parts if name.endswith("sheet1.xml.rels"))
    kind = "http://schemas.microsoft.com/office/2017/10/relationships/threadedComment"
    more = f'<Relationship Id="rId99" Type="{kind}" Target="/xl/threadedComments/1.xml"/></Relationships>'
    return {**parts, name: parts[name].replace(b"</Relationships>", more.encode())}


def repeated_row(parts: Parts) -> Parts:
    return {**parts, SHEET: parts[SHEET].replace(b'<row r="5"', b'<row r="4"')}


@pytest.mark.parametrize(
    "variant", [macros, entities, another_encoding, another_language, cut, conversations, repeated_row]
)
def test_what_cannot_be_edited_is_known(tmp_path: Path, variant: Callable[[Parts], Parts]) -> None:
    original = tmp_path / "original.xlsx"
    book().save(original)
    save(original, variant(parts_of(original)))
    with pytest.raises(NotEditable):
        edited.mark(str(original), str(tmp_path / "ours.xlsx"), marks())


def test_a_status_that_is_computed_is_not_edited(tmp_path: Path) -> None:
    original = tmp_path / "original.xlsx"
    made = book()
    made["Servers"]["E2"], made["Servers"]["E3"] = "_import", "=A3"
    made.save(original)
    with pytest.raises(NotEditable):
        edited.mark(str(original), str(tmp_path / "ours.xlsx"), marks(status_column=4))
