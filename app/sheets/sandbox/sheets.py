"""The program that prints an Excel workbook, since hostile ones abort the process that parses them.

It prints `{"sheet": <name>, "epoch_1904": <bool>}` for each worksheet, then an array for each row, from row 1 to the
last with a value.
"""

import posixpath
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum

from app.sheets.sandbox.process import MOST_ROWS, Options, Output, Refused, Row, without_blank_ends

Errors = dict[int, list[tuple[int, str]]]

# orjson writes no integer as large as this.
LARGEST_INTEGER = 2**63

_ERROR_CELL = re.compile(
    rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bt="e"[^<>]{0,200})>'
    rb"(?:<(?:\w{1,20}:)?f\b[^<>]{0,200}>(?:[^<]*</[^<>]{1,20}>)?)?"
    rb"<(?:\w{1,20}:)?v>(#[^<]{1,20})<"
)
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')


def run(options: Options, output: Output) -> None:
    """Print every worksheet, hidden ones too; charts and dialogs have no rows."""
    path = options["path"]
    with CalamineWorkbook.from_path(path) as workbook, ZipFile(path) as archive:
        sheets = workbook.sheets_metadata
        if len(sheets) > options["sheets"]:
            raise Refused("too_many_sheets", sheets=len(sheets))
        # The parent has refused entities, and of anything else this process may die.
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
                # Otherwise each row above it would be filled up to there.
                raise Refused("too_many_columns", sheet=sheet.name, row=cells.start[0] + 1)
            for row in read_rows(cells, errors):
                output.write(row)


def read_part(archive: ZipFile, part: str) -> bytes:
    """Read a part as calamine finds it, in any case and also with backslashes in its name."""
    for name in archive.namelist():
        if name.replace("\\", "/").lower() == part.lower():
            return archive.read(name)
    raise KeyError(part)


def sheet_parts(workbook: ET.Element, archive: ZipFile) -> list[str]:
    """Name the part of each sheet, in the order of the workbook."""
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
    """Whether the workbook's day 0 is the first of January 1904, as Excel for the Macintosh had it."""
    properties = workbook.find("{*}workbookPr")
    return properties is not None and properties.get("date1904", "").lower() in ("1", "true", "on")


def find_errors(worksheet: bytes) -> Errors:
    """Find `#N/A` and the like, which calamine takes for empty: row → columns and texts."""
    errors: Errors = {}
    for attributes, text in _ERROR_CELL.findall(worksheet):
        if reference := _REFERENCE.search(attributes):
            row, column = int(reference[2]), _column_number(reference[1])
            errors.setdefault(row, []).append((column, text.decode()))
    return errors


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def read_rows(sheet: CalamineSheet, errors: Errors) -> Iterator[Row]:
    """Yield the rows from row 1 and column A, without the empty ends of rows and of the sheet."""
    if sheet.end and sheet.end[0] >= MOST_ROWS:
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
            else as_printed(value)
            for value in cells
        ]
        for column, text in errors.get(number, ()):
            row[column - 1] = text
        yield row


def as_printed(value: int | date | datetime | time | timedelta) -> int | date | time | str:
    """Leave out a midnight, and write a duration as hours that do not end at 24."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value
