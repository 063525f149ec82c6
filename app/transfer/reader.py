"""A program of its own that prints a workbook as JSON lines, since hostile files abort its process.

`reader.py <path> <options as JSON>` prints `{"sheet": <name>}` for each worksheet, then an array
for each row, from row 1 to the last with a value. After `{"error": <slug>, …}` it exits with 3.
"""

import posixpath
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import BinaryIO
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import orjson
from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum

Errors = dict[int, list[tuple[int, str]]]

REFUSED = 3
# A parent reads line by line, so this bounds its memory.
LONGEST_LINE_BYTES = 16 << 20
# calamine accepts a cell in row four billion, and then yields all the rows above it.
MOST_ROWS = 1 << 20
# orjson writes no integer as large as this.
LARGEST_INTEGER = 2**63

_ERROR_CELL = re.compile(
    rb'<(?:\w{1,20}:)?c ([^<>]{0,200}\bt="e"[^<>]{0,200})>'
    rb"(?:<(?:\w{1,20}:)?f\b[^<>]{0,200}>(?:[^<]*</[^<>]{1,20}>)?)?"
    rb"<(?:\w{1,20}:)?v>(#[^<]{1,20})<"
)
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')


class Refused(Exception):
    """A workbook beyond a limit: the slug, and the facts that a sentence about it needs."""

    def __init__(self, error: str, **facts: str | int) -> None:
        super().__init__(error)
        self.facts = {"error": error, **facts}


@dataclass(frozen=True)
class Options:
    """The limits of the process and of what it prints, and whether cells may hold errors."""

    memory_bytes: int
    cpu_seconds: int
    output_bytes: int
    sheets: int
    rows: int
    columns: int
    has_errors: bool


class Lines:
    """JSON lines on their way to a file, up to a number of bytes."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file = file
        self._bytes_left = most_bytes

    def print(self, content: object) -> None:
        """Write one line, or raise `Refused` when it or all of them become too long."""
        line = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
        self._bytes_left -= len(line)
        if self._bytes_left < 0 or len(line) > LONGEST_LINE_BYTES:
            raise Refused("too_large_unpacked")
        self._file.write(line)


def main(path: str, options: Options) -> int:
    """Print the workbook at `path`, and return the exit status."""
    limit_process(options)
    with open(sys.stdout.fileno(), "wb", buffering=1 << 20, closefd=False) as file:
        try:
            print_workbook(path, options, Lines(file, options.output_bytes))
        except Refused as refusal:
            file.write(orjson.dumps(refusal.facts))
            return REFUSED
        except MemoryError:
            file.write(b'{"error":"too_much_memory"}')
            return REFUSED
    return 0


def limit_process(options: Options) -> None:
    """Let the system end this process before it costs more than it may."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (options.memory_bytes, options.memory_bytes))
    # At the second number the system sends SIGKILL, which does not tell the reason.
    resource.setrlimit(resource.RLIMIT_CPU, (options.cpu_seconds, options.cpu_seconds + 1))


def print_workbook(path: str, options: Options, lines: Lines) -> None:
    """Print every worksheet, hidden ones too; charts and dialogs have no rows."""
    with CalamineWorkbook.from_path(path) as workbook, ZipFile(path) as archive:
        sheets = workbook.sheets_metadata
        if len(sheets) > options.sheets:
            raise Refused("too_many_sheets", sheets=len(sheets))
        parts = sheet_parts(archive)
        if len({part.lower() for part in parts}) < len(parts):
            raise Refused("repeated_sheet")
        rows_left = options.rows
        for index, (sheet, part) in enumerate(zip(sheets, parts, strict=True)):
            if sheet.typ != SheetTypeEnum.WorkSheet:
                continue
            lines.print({"sheet": sheet.name})
            errors = find_errors(read_part(archive, part)) if options.has_errors else {}
            rows = read_rows(workbook.get_sheet_by_index(index), errors)
            for number, row in enumerate(rows, start=1):
                rows_left -= 1
                if rows_left < 0:
                    raise Refused("too_many_rows")
                if len(row) > options.columns:
                    raise Refused("too_many_columns", sheet=sheet.name, row=number)
                lines.print(row)


def read_part(archive: ZipFile, part: str) -> bytes:
    """Read a part as calamine finds it, in any case and also with backslashes in its name."""
    for name in archive.namelist():
        if name.replace("\\", "/").lower() == part.lower():
            return archive.read(name)
    raise KeyError(part)


def sheet_parts(archive: ZipFile) -> list[str]:
    """Name the part of each sheet, in the order of the workbook."""
    # The parent has refused entities, and of anything else this process may die.
    relations = ET.fromstring(read_part(archive, "xl/_rels/workbook.xml.rels"))  # noqa: S314
    workbook = ET.fromstring(read_part(archive, "xl/workbook.xml"))  # noqa: S314
    targets = {
        relation.get("Id"): posixpath.join("/xl", relation.get("Target", "")).lstrip("/") for relation in relations
    }
    return [
        targets[value]
        for sheet in workbook.iterfind(".//{*}sheet")
        for name, value in sheet.attrib.items()
        if name.endswith("}id")
    ]


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


def read_rows(sheet: CalamineSheet, errors: Errors) -> Iterator[list[object]]:
    """Yield the rows from row 1 and column A, without the empty ends of rows and of the sheet."""
    if sheet.end and sheet.end[0] >= MOST_ROWS:
        raise Refused("too_many_rows")
    left = [None] * sheet.start[1] if sheet.start else []
    blank_rows = 0
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        row: list[object] = left + [
            (value or None)
            if isinstance(value, str)
            else (int(value) if value.is_integer() and abs(value) < LARGEST_INTEGER else value)
            if isinstance(value, float)
            else as_printed(value)
            for value in cells
        ]
        for column, text in errors.get(number, ()):
            row[column - 1] = text
        while row and row[-1] is None:
            row.pop()
        if row:
            yield from ([] for _ in range(blank_rows))
            yield row
            blank_rows = 0
        else:
            blank_rows += 1


def as_printed(value: int | date | datetime | time | timedelta) -> int | date | time | str:
    """Leave out a midnight, and write a duration as hours that do not end at 24."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Options(**orjson.loads(sys.argv[2]))))
