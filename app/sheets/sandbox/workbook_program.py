"""The sandboxed program that reads an Excel workbook; two known files of 1.8 kB abort the process that parses them.

Prints `{"sheet": <name>, "epoch_1904": <bool>, "layout": {…}}` for each worksheet, then an array for each row,
from row 1 to the last row with a value.
"""

import posixpath
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from app.sheets.cells import UNCOMPUTED, column_index
from app.sheets.sandbox.process import MAX_ROWS, Options, Output, Refused, Row, without_blank_ends

Texts = dict[int, list[tuple[int, str]]]
"""Texts of cells that calamine returns as empty: columns and texts by row."""
Merged = list[tuple[int, int, int]]
"""Cells merged down a column: the first and the last row, counted from 1, and the column, counted from 0."""

# A larger number may be rounded, which only a float says of itself.
LARGEST_INTEGER = 2**53

_ERROR_CELL = re.compile(
    rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bt="e"[^<>]{0,200})>'
    rb"(?:<(?:\w{1,20}:)?f\b[^<>]{0,200}>(?:[^<]*</[^<>]{1,20}>)?)?"
    rb"<(?:\w{1,20}:)?v>(#[^<]{1,20})<"
)
_UNCOMPUTED_CELL = re.compile(
    rb"<(?:\w{1,20}:)?c ([^<>]{0,200})>"
    rb"<(?:\w{1,20}:)?f\b(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]*</(?:\w{1,20}:)?f>)"
    rb"(?:<(?:\w{1,20}:)?v\s{0,9}/>|<(?:\w{1,20}:)?v></(?:\w{1,20}:)?v>)?</(?:\w{1,20}:)?c>"
)
_HIDDEN_ROW = re.compile(rb'<(?:\w{1,20}:)?row ([^<>]{0,300}\bhidden="(?:1|true)"[^<>]{0,300})>')
_HIDDEN_COLUMN = re.compile(rb'<(?:\w{1,20}:)?col ([^<>]{0,300}\bhidden="(?:1|true)"[^<>]{0,300})>')
_ROW_NUMBER = re.compile(rb'\br="([0-9]{1,7})"')
_MIN, _MAX = re.compile(rb'\bmin="([0-9]{1,5})"'), re.compile(rb'\bmax="([0-9]{1,5})"')
_ZEROS = re.compile("0{2,15}")
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')


def run(options: Options, output: Output) -> None:
    """Print all worksheets, also hidden ones; chart and dialog sheets have no rows."""
    path = options["path"]
    with CalamineWorkbook.from_path(path) as workbook, ZipFile(path) as archive:
        sheets = workbook.sheets_metadata
        if len(sheets) > options["sheets"]:
            raise Refused("too_many_sheets", sheets=len(sheets))
        # check_package has refused entities; against anything else there is the sandbox.
        document = ET.fromstring(read_part(archive, "xl/workbook.xml"))  # noqa: S314
        parts = sheet_parts(document, archive)
        if len({part.lower() for part in parts}) < len(parts):
            raise Refused("repeated_sheet")
        epoch_1904 = counts_from_1904(document)
        padded = padded_styles(archive)
        for index, (sheet, part) in enumerate(zip(sheets, parts, strict=True)):
            if sheet.typ != SheetTypeEnum.WorkSheet:
                continue
            cells = workbook.get_sheet_by_index(index)
            texts: Texts = {}
            layout: dict[str, Any] = {}
            if padded or options["has_special_cells"]:
                worksheet = read_part(archive, part)
                texts, layout = special_texts(worksheet, padded), layout_of(worksheet, cells)
            if sheet.visible != SheetVisibleEnum.Visible:
                layout["hidden"] = True
            output.begin(sheet.name, epoch_1904=epoch_1904, layout=layout)
            if cells.start and cells.start[1] >= options["columns"]:
                # calamine would fill each row from column A up to there.
                place = f"Row {cells.start[0] + 1:,} of sheet {sheet.name:.40}"
                raise Refused("too_many_columns", place=place)
            rows = read_rows(cells, texts)
            for row in merged_down(rows, layout["merged"]) if "merged" in layout else rows:
                output.write(row)


def read_part(archive: ZipFile, part: str) -> bytes:
    """Read a part by its name as calamine does: ignoring case, with backslashes as slashes."""
    for name in archive.namelist():
        if name.replace("\\", "/").lower() == part.lower():
            return archive.read(name)
    raise KeyError(part)


def sheet_parts(workbook: ET.Element, archive: ZipFile) -> list[str]:
    """The name of each sheet's part, in the order of the workbook."""
    relations = ET.fromstring(read_part(archive, "xl/_rels/workbook.xml.rels"))  # noqa: S314
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


def special_texts(worksheet: bytes, padded: Mapping[int, int]) -> Texts:
    """Error cells (`#N/A`), formulas without a stored value, and numbers that are shown with leading zeros."""
    errors = [*_ERROR_CELL.findall(worksheet), *((cell, UNCOMPUTED.encode()) for cell in _uncomputed(worksheet))]
    texts: Texts = {}
    for attributes, text in errors:
        if reference := _REFERENCE.search(attributes):
            row, column = int(reference[2]), column_index(reference[1].decode())
            texts.setdefault(row, []).append((column, text.decode()))
    if padded:
        _add_padded_texts(texts, worksheet, padded)
    return texts


def padded_styles(archive: ZipFile) -> dict[int, int]:
    """The styles of cells that show a number with leading zeros (`00000`), and how many digits each shows."""
    try:
        styles = ET.fromstring(read_part(archive, "xl/styles.xml"))  # noqa: S314
    except (KeyError, ET.ParseError):
        return {}
    codes = {item.get("numFmtId"): item.get("formatCode", "") for item in styles.iterfind("{*}numFmts/{*}numFmt")}
    formats = [codes.get(item.get("numFmtId"), "") for item in styles.iterfind("{*}cellXfs/{*}xf")]
    return {style: len(code) for style, code in enumerate(formats) if _ZEROS.fullmatch(code)}


def _add_padded_texts(texts: Texts, worksheet: bytes, padded: Mapping[int, int]) -> None:
    """Add the whole numbers in cells of such styles, as the spreadsheet shows them."""
    styles = "|".join(map(str, padded)).encode()
    cell = re.compile(
        rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bs="(' + styles + rb')"[^<>]{0,200})>'
        rb"(?:<(?:\w{1,20}:)?f\b(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]*</[^<>]{1,20}>))?"
        rb"<(?:\w{1,20}:)?v>([0-9]{1,15})</"
    )
    for attributes, style, digits in cell.findall(worksheet):
        reference = _REFERENCE.search(attributes)
        if reference and not re.search(rb'\bt="(?!n")', attributes):
            row, column = int(reference[2]), column_index(reference[1].decode())
            texts.setdefault(row, []).append((column, digits.decode().zfill(padded[int(style)])))


def _uncomputed(worksheet: bytes) -> Iterator[bytes]:
    """The attributes of cells with a formula but no value; an empty text (`t="str"`) is a value."""
    return (cell[1] for cell in _UNCOMPUTED_CELL.finditer(worksheet) if b't="str"' not in cell[1])


def layout_of(worksheet: bytes, sheet: CalamineSheet) -> dict[str, Any]:
    """What is hidden or merged down a column, each only if there is some."""
    columns = [
        (int(low) - 1, int(high) - 1)
        for tag in _HIDDEN_COLUMN.findall(worksheet)
        for low, high in zip(_MIN.findall(tag), _MAX.findall(tag), strict=True)
    ]
    rows = [int(number) for tag in _HIDDEN_ROW.findall(worksheet) for number in _ROW_NUMBER.findall(tag)]
    merged = [
        (first[0] + 1, last[0] + 1, first[1]) for first, last in sheet.merged_cell_ranges or () if last[0] > first[0]
    ]
    layout = {"hidden_columns": columns, "hidden_rows": rows, "merged": sorted(merged)}
    return {name: places for name, places in layout.items() if places}


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


def read_rows(sheet: CalamineSheet, texts: Texts) -> Iterator[Row]:
    """Yield the rows from row 1 and column A, without empty cells and rows at the end."""
    if (sheet.end and sheet.end[0] >= MAX_ROWS) or (texts and max(texts) > MAX_ROWS):
        raise Refused("too_many_rows")
    return without_blank_ends(_all_rows(sheet, texts))


def _all_rows(sheet: CalamineSheet, texts: Texts) -> Iterator[Row]:
    left = [None] * sheet.start[1] if sheet.start else []
    number = 0
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        row: Row = left + [
            (value or None)
            if isinstance(value, str)
            else (int(value) if value.is_integer() and abs(value) < LARGEST_INTEGER else value)
            if isinstance(value, float)
            else json_value(value)
            for value in cells
        ]
        yield _with_texts(row, texts[number]) if number in texts else row
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
