"""The sandboxed program that reads an Excel workbook; two known files of 1.8 kB abort the process that parses them.

Prints `{"sheet": <name>, "epoch_1904": <bool>}` for each worksheet, then an array for each row, from row 1 to the last
row with a value.
"""

import posixpath
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum

from app.sheets.cells import column_index
from app.sheets.sandbox.process import MAX_ROWS, Options, Output, Refused, Row, without_blank_ends

Errors = dict[int, list[tuple[int, str]]]

# A larger number may be rounded, which only a float says of itself.
LARGEST_INTEGER = 2**53

_ERROR_CELL = re.compile(
    rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bt="e"[^<>]{0,200})>'
    rb"(?:<(?:\w{1,20}:)?f\b[^<>]{0,200}>(?:[^<]*</[^<>]{1,20}>)?)?"
    rb"<(?:\w{1,20}:)?v>(#[^<]{1,20})<"
)
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
        for index, (sheet, part) in enumerate(zip(sheets, parts, strict=True)):
            if sheet.typ != SheetTypeEnum.WorkSheet:
                continue
            output.begin(sheet.name, epoch_1904=epoch_1904)
            errors = find_errors(read_part(archive, part)) if options["has_errors"] else {}
            cells = workbook.get_sheet_by_index(index)
            if cells.start and cells.start[1] >= options["columns"]:
                # calamine would fill each row from column A up to there.
                place = f"Row {cells.start[0] + 1:,} of sheet {sheet.name:.40}"
                raise Refused("too_many_columns", place=place)
            for row in read_rows(cells, errors):
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


def find_errors(worksheet: bytes) -> Errors:
    """Error cells (`#N/A`), which calamine returns as empty: columns and texts by row."""
    errors: Errors = {}
    for attributes, text in _ERROR_CELL.findall(worksheet):
        if reference := _REFERENCE.search(attributes):
            row, column = int(reference[2]), column_index(reference[1].decode())
            errors.setdefault(row, []).append((column, text.decode()))
    return errors


def read_rows(sheet: CalamineSheet, errors: Errors) -> Iterator[Row]:
    """Yield the rows from row 1 and column A, without empty cells and rows at the end."""
    if sheet.end and sheet.end[0] >= MAX_ROWS:
        raise Refused("too_many_rows")
    return without_blank_ends(_all_rows(sheet, errors))


def _all_rows(sheet: CalamineSheet, errors: Errors) -> Iterator[Row]:
    left = [None] * sheet.start[1] if sheet.start else []
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        row: Row = left + [
            (value or None)
            if isinstance(value, str)
            else (int(value) if value.is_integer() and abs(value) < LARGEST_INTEGER else value)
            if isinstance(value, float)
            else json_value(value)
            for value in cells
        ]
        for column, text in errors.get(number, ()):
            row[column] = text
        yield row


def json_value(value: int | date | datetime | time | timedelta) -> int | date | time | str:
    """A midnight is a date; a duration is HH:MM:SS with hours that may exceed 24."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value
