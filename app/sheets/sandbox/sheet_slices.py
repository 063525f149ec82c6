"""Cut a large worksheet into slices of rows, each in a workbook of its own.

calamine has all cells of a sheet in memory, for a moment twice: an export of 100,000 servers took 262 MB, in slices
140 MB, and a second of processor time more. It also gives no row before it has read the last one, so that no progress
could be shown: 100,000 rows of 15 cells take half a second of processor time more in slices.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

MIN_BYTES = 24 << 20
"""A smaller worksheet is not cut."""
BYTES_PER_SHARED_BYTE = 8
"""A worksheet is cut if it has this many times the bytes of the shared texts, which are read anew for each slice."""
MAX_BYTES = 80 << 20
"""A larger worksheet is cut however many texts are shared, to save memory."""
SLICE_BYTES = 12 << 20

_ROOT = re.compile(rb"<((?:\w{1,20}:)?)worksheet\b")
_DATA = re.compile(rb"<((?:\w{1,20}:)?)sheetData\b[^<>]{0,200}(?<!/)>")
# What calamine reads besides the worksheets, by their names and not by relations.
_SHARED = re.compile(r"\[content_types\]\.xml|_rels/\.rels|xl/_rels/workbook\.xml\.rels|xl/[^/]+\.xml", re.IGNORECASE)

_TEXTS = re.compile(r"sharedstrings\.xml\Z", re.IGNORECASE)


class SheetSlices(NamedTuple):
    """Workbooks with a worksheet: one with all of it but its rows, and those with its rows in their order."""

    without_rows: Path
    rows: Sequence[Path]


class _NotDivisible(Exception):
    """The worksheet is read as a whole."""


def cut(archive: ZipFile, entry: ZipInfo, folder: Path, examine: Callable[[bytes], None]) -> SheetSlices | None:
    """Cut a large worksheet into workbooks in a folder, where that is safe; else None.

    `examine` is called with all of it, part by part; a part never ends within a row.
    """
    texts = sum(part.file_size for part in archive.infolist() if _TEXTS.search(part.filename))
    if entry.file_size <= min(MAX_BYTES, max(MIN_BYTES, texts * BYTES_PER_SHARED_BYTE)):
        return None
    try:
        return _cut(archive, entry, folder, examine)
    except _NotDivisible:
        return None


def _cut(archive: ZipFile, entry: ZipInfo, folder: Path, examine: Callable[[bytes], None]) -> SheetSlices:
    shared = [name for name in archive.namelist() if _SHARED.fullmatch(name.replace("\\", "/"))]

    def write(name: str, *content: bytes) -> Path:
        path = folder / name
        with ZipFile(path, "w", ZIP_STORED) as workbook:
            for part in shared:
                workbook.writestr(part, archive.read(part))
            with workbook.open(entry.filename, "w") as worksheet:
                for each in content:
                    worksheet.write(each)
        return path

    slices: list[Path] = []
    with archive.open(entry) as file:
        rest = file.read(SLICE_BYTES)
        root, data = _ROOT.search(rest), _DATA.search(rest)
        if root is None or data is None:
            raise _NotDivisible
        row_end, data_end = b"</%srow>" % data[1], b"</%ssheetData>" % data[1]
        number = re.compile(rb'<%srow\b(?:[^<>]{0,300}?\sr="([0-9]{1,7})")?' % data[1])
        head, rest = rest[: data.end()], rest[data.end() :]
        examine(head)
        last, is_last = 0, False
        while not is_last:
            chunk = file.read(SLICE_BYTES)
            is_last = len(chunk) < SLICE_BYTES
            rest += chunk
            end = rest.find(data_end) if is_last else rest.rfind(row_end) + len(row_end)
            if end < 0 or (not is_last and data_end in rest):
                # Very much text stands below the rows.
                raise _NotDivisible
            piece, rest = rest[:end], rest[end:]
            last = _last_row(piece, number, last)
            examine(piece)
            name = f"rows-{len(slices)}.xlsx"
            slices.append(write(name, head, piece, data_end, b"</%sworksheet>" % root[1]))
    examine(rest)
    return SheetSlices(write("without-rows.xlsx", head, rest), slices)


def _last_row(piece: bytes, number: re.Pattern[bytes], last: int) -> int:
    """The number of the last row; raises _NotDivisible unless each row has one, greater than the one before."""
    # In a comment or a CDATA section, what looks like a row is none.
    if b"<!" in piece:
        raise _NotDivisible
    for text in number.findall(piece):
        if not text or int(text) <= last:
            raise _NotDivisible
        last = int(text)
    return last
