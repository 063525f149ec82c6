"""The sandboxed program that reads an Excel workbook; two known files of 1.8 kB abort the process that parses them.

Prints `{"sheet": <name>, "epoch_1904": <bool>, "layout": {…}}` for each worksheet, then an array for each row,
from row 1 to the last row with a value.
"""

import posixpath
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZipFile, ZipInfo

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from app.sheets.sandbox.process import MAX_ROWS, Options, Output, RefusedFile, Row, without_blank_ends
from app.sheets.sandbox.sheet_slices import SheetSlices, cut
from app.sheets.sandbox.special_cells import SpecialCells, Texts

Merged = list[tuple[int, int, int]]
"""Cells merged down a column: the first and the last row, counted from 1, and the column, counted from 0."""

# A larger number may be rounded, which only a float says of itself.
LARGEST_INTEGER = 2**53

_ZEROS = re.compile("0{2,15}")


def run(options: Options, output: Output) -> None:
    """Print all worksheets, also hidden ones; chart and dialog sheets have no rows."""
    path = options["path"]
    with CalamineWorkbook.from_path(path) as workbook, ZipFile(path) as archive:
        facts = workbook.sheets_metadata
        if len(facts) > options["sheets"]:
            raise RefusedFile("too_many_sheets", sheets=len(facts))
        # check_package has refused entities; against anything else there is the sandbox.
        document = ET.fromstring(read_package_part(archive, "xl/workbook.xml"))  # noqa: S314
        parts = sheet_parts(document, archive)
        if len({part.lower() for part in parts}) < len(parts):
            raise RefusedFile("repeated_sheet")
        epoch_1904 = counts_from_1904(document)
        padded = padded_styles(archive)
        for index, (sheet, part) in enumerate(zip(facts, parts, strict=True)):
            if sheet.typ != SheetTypeEnum.WorkSheet:
                continue
            special = SpecialCells(padded) if padded or options["has_special_cells"] else None
            slices = cut(
                archive, find_package_part(archive, part), Path(path).parent, special.add if special else _ignore
            )
            if slices is not None:
                bare, sheets = _open_sheet(slices.without_rows, index), _open_slices(slices, index)
            else:
                bare = workbook.get_sheet_by_index(index)
                sheets = iter([bare])
                if special is not None:
                    # What has been added before it turned out that the sheet cannot be cut is left out.
                    special = SpecialCells(padded)
                    special.add(read_package_part(archive, part))
            layout = special.layout(bare.merged_cell_ranges or ()) if special else {}
            texts = special.texts if special else {}
            if sheet.visible != SheetVisibleEnum.Visible:
                layout["hidden"] = True
            output.begin(sheet.name, epoch_1904=epoch_1904, layout=layout)
            rows = read_rows(_within_columns(sheets, sheet.name, options["columns"]), texts)
            for row in merged_down(rows, layout["merged"]) if "merged" in layout else rows:
                output.write(row)


def read_package_part(archive: ZipFile, part: str) -> bytes:
    return archive.read(find_package_part(archive, part))


def find_package_part(archive: ZipFile, part: str) -> ZipInfo:
    """A part by its name as calamine finds it: ignoring case, with backslashes as slashes."""
    for entry in archive.infolist():
        if entry.filename.replace("\\", "/").lower() == part.lower():
            return entry
    raise KeyError(part)


def _open_slices(slices: SheetSlices, index: int) -> Iterator[CalamineSheet]:
    return (_open_sheet(path, index) for path in slices.rows)


def _open_sheet(path: Path, index: int) -> CalamineSheet:
    with CalamineWorkbook.from_path(path) as workbook:
        return workbook.get_sheet_by_index(index)


def _within_columns(sheets: Iterator[CalamineSheet], name: str, columns: int) -> Iterator[CalamineSheet]:
    """Yield the slices of a sheet; raises RefusedFile where one begins beyond the last column that is read."""
    for cells in sheets:
        if cells.start and cells.start[1] >= columns:
            # calamine would fill each row from column A up to there.
            raise RefusedFile("too_many_columns", row=cells.start[0] + 1, sheet=name[:40])
        yield cells


def _ignore(_worksheet: bytes) -> None:
    """Nothing in this workbook is special."""


def sheet_parts(workbook: ET.Element, archive: ZipFile) -> list[str]:
    """The name of each sheet's part, in the order of the workbook."""
    relations = ET.fromstring(read_package_part(archive, "xl/_rels/workbook.xml.rels"))  # noqa: S314
    targets = {
        relation.get("Id"): posixpath.join("/xl", relation.get("Target", "")).lstrip("/") for relation in relations
    }
    return [
        targets[value]
        for sheet in workbook.iterfind(".//{*}sheet")
        for name, value in sheet.attrib.items()
        if name.endswith("}id")
    ]


def counts_from_1904(workbook: ET.Element) -> bool:
    """Whether dates count from 1904-01-01, as in Excel for Macintosh."""
    properties = workbook.find("{*}workbookPr")
    return properties is not None and properties.get("date1904", "").lower() in ("1", "true", "on")


def padded_styles(archive: ZipFile) -> dict[int, int]:
    """The styles of cells that show a number with leading zeros (`00000`), and how many digits each shows."""
    try:
        styles = ET.fromstring(read_package_part(archive, "xl/styles.xml"))  # noqa: S314
    except (KeyError, ET.ParseError):
        return {}
    codes = {item.get("numFmtId"): item.get("formatCode", "") for item in styles.iterfind("{*}numFmts/{*}numFmt")}
    formats = [codes.get(item.get("numFmtId"), "") for item in styles.iterfind("{*}cellXfs/{*}xf")]
    return {style: len(code) for style, code in enumerate(formats) if _ZEROS.fullmatch(code)}


def merged_down(rows: Iterator[Row], merged: Merged) -> Iterator[Row]:
    """Yield the rows; the value of merged cells is that of each of their rows which has other values."""
    open_ranges: list[tuple[int, int, Any]] = []
    waiting = deque(merged)
    for number, row in enumerate(rows, 1):
        if row and open_ranges:
            for last, column, value in open_ranges:
                row.extend([None] * (column + 1 - len(row)))
                if number <= last and row[column] is None:
                    row[column] = value
            open_ranges = [one for one in open_ranges if one[0] > number]
        while waiting and waiting[0][0] <= number:
            _, last, column = waiting.popleft()
            if column < len(row) and row[column] is not None:
                open_ranges.append((last, column, row[column]))
        yield row


def read_rows(sheets: Iterable[CalamineSheet], texts: Texts) -> Iterator[Row]:
    """Yield the rows of successive slices from row 1 and column A, without empty cells and rows at the end."""
    if texts and max(texts) > MAX_ROWS:
        raise RefusedFile("too_many_rows")
    return without_blank_ends(_all_rows(sheets, texts))


def _all_rows(sheets: Iterable[CalamineSheet], texts: Texts) -> Iterator[Row]:
    number = 0
    for sheet in sheets:
        if sheet.end and sheet.end[0] >= MAX_ROWS:
            raise RefusedFile("too_many_rows")
        left = [None] * sheet.start[1] if sheet.start else []
        # The rows of earlier slices are blank in this one.
        for cells in islice(sheet.iter_rows(), number, None):
            number += 1
            row: Row = left + [
                (value or None)
                if isinstance(value, str)
                else (int(value) if value.is_integer() and abs(value) < LARGEST_INTEGER else value)
                if isinstance(value, float)
                else json_value(value)
                for value in cells
            ]
            yield _with_texts(row, texts[number]) if number in texts else row
        # The next one is read when this one is gone.
        del sheet
    # Formulas without a value lie outside of the rectangle of calamine.
    for below in range(number + 1, max(texts, default=0) + 1):
        yield _with_texts([], texts.get(below, ()))


def _with_texts(row: Row, texts: Sequence[tuple[int, str]]) -> Row:
    for column, text in texts:
        row += [None] * (column + 1 - len(row))
        row[column] = text
    return row


def json_value(value: int | date | datetime | time | timedelta) -> int | date | time | str:
    """A midnight is a date; a duration is HH:MM:SS with hours that may exceed 24."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value
