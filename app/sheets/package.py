"""Checks the zip package of a workbook by its real content, before anything parses it."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_CUR, SEEK_END
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from app.core.messages import tr
from app.sheets.cells import column_index
from app.sheets.limits import Limits, refusal

_CHUNK_BYTES = 1 << 18
# Longer than the tags that are searched: a tag that is cut by the end of a chunk is found with the next.
_OVERLAP_BYTES = 256
_MAX_PARTS = 10_000
# Apache POI's threshold for a zip bomb (deflate itself reaches 1,032); small parts may be compressed more.
_MAX_COMPRESSION = 100
_ALWAYS_ALLOWED_BYTES = 4 << 20

_ZIP_MAGIC = b"PK\x03\x04"
_ZIP_DIRECTORY_MAGIC = b"PK\x01\x02"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_LEADS_OUTSIDE = re.compile(r"/|[a-z]:|(.*/)?\.\.(/|$)|.*\0", re.DOTALL)
_REQUIRED_PARTS = {"[content_types].xml", "xl/workbook.xml"}
_XML_SUFFIXES = (".xml", ".rels", ".vml")

# calamine reads a sheet in UTF-16 as empty, and the search for entities would miss them.
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Searched by their literal beginnings, which is as fast as `in`; one pattern of all takes ten times as long.
_SPECIAL_CELLS = tuple(map(re.compile, (rb't="e"', rb"<f[ >]", rb":f[ >]", rb"mergeCell ", rb'hidden="(?:1|true)"')))
# A cell without a value is `<c …/>`: it costs the reader nothing, however far away it is.
_THREE_LETTER_CELL = re.compile(rb'<c r="([A-Z]{3})([0-9]{1,7})"[^<>]{0,200}>(?=<[vfi])')
_CELL = re.compile(rb'<c r="[A-Z]+([0-9]{1,20})"')
_SHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
_DIMENSION = re.compile(
    rb'<(?:\w{1,20}:)?dimension\b[^<>]{0,100}\bref="[A-Z]{1,3}(?:[0-9]{1,7}:[A-Z]{1,3})?([0-9]{1,7})"'
)
_EMPTY_CELL_ENDS = (b"<v></v>", b"<v/>", b'">', b"</f>")


@dataclass(frozen=True)
class Package:
    """The real size of an unpacked workbook, and whether a sheet may hold errors, formulas, merged or hidden cells.

    `declared_rows` is the number of rows of all worksheets as their dimensions say it, which may be wrong; None where
    one of them has no dimension.
    """

    unpacked_bytes: int
    has_special_cells: bool
    declared_rows: int | None


def check_package(file: BinaryIO, limits: Limits, *, find_special_cells: bool = False) -> Package:
    """Unpack all parts in constant memory; raises UnreadableWorkbook at the first fault.

    Counts the real bytes, since the sizes in the zip directory may be wrong. The search for special cells takes as long
    as all other checks together, so it is made only for those who read the cells.
    """
    _check_kind(file)
    unpacked_bytes = 0
    is_special = False
    last_rows: list[int | None] = []
    marks = _SPECIAL_CELLS if find_special_cells else ()
    for entry in _read_directory(file):
        is_xml = entry.filename.lower().endswith(_XML_SUFFIXES)
        is_sheet = _SHEET_PART.fullmatch(entry.filename) is not None
        part_bytes = 0
        window = b""
        for chunk in _unpack(file, entry):
            part_bytes += len(chunk)
            _check_size(part_bytes, unpacked_bytes + part_bytes, entry, limits)
            if is_xml:
                if is_sheet and not window:
                    last_rows.append(_declared_last_row(chunk))
                window = window[-_OVERLAP_BYTES:] + chunk
                _check_xml(window, limits)
                is_special = is_special or any(mark.search(window) for mark in marks)
        if part_bytes != entry.file_size:
            raise refusal("damaged")
        unpacked_bytes += part_bytes
    known_rows = [row for row in last_rows if row is not None]
    declared_rows = sum(known_rows) if len(known_rows) == len(last_rows) else None
    return Package(unpacked_bytes, is_special, declared_rows)


def _declared_last_row(head: bytes) -> int | None:
    """The last row of a worksheet by the dimension at its beginning, which writers may leave out."""
    dimension = _DIMENSION.search(head)
    return int(dimension[1]) if dimension else None


def _check_kind(file: BinaryIO) -> None:
    file.seek(0)
    magic = file.read(len(_OLE_MAGIC))
    file.seek(0)
    if magic == _OLE_MAGIC:
        # Entries of an OLE directory are aligned, so the end of a chunk cuts no name.
        if any(_ENCRYPTED_STREAM in chunk for chunk in _chunks(file)):
            raise refusal("encrypted")
        raise refusal("old_excel")
    if not magic.startswith(_ZIP_MAGIC):
        raise refusal("not_a_workbook")
    # Counted in the raw file, because ZipFile keeps the whole directory in memory.
    if sum(chunk.count(_ZIP_DIRECTORY_MAGIC) for chunk in _chunks(file)) > _MAX_PARTS:
        raise refusal("unsafe", message=tr("The workbook has more than {max:,} parts.", max=_MAX_PARTS))


def _read_directory(file: BinaryIO) -> list[ZipInfo]:
    try:
        with ZipFile(file) as archive:
            entries = archive.infolist()
    except (BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise refusal("damaged") from error
    # Readers ignore case, and some writers use backslashes.
    names = [entry.orig_filename.replace("\\", "/").lower() for entry in entries]
    if any(map(_LEADS_OUTSIDE.match, names)):
        raise refusal("unsafe", message=tr("The workbook has a part whose path leads outside of it."))
    if len(set(names)) < len(names):
        raise refusal("unsafe", message=tr("The workbook has two parts with the same name."))
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise refusal("encrypted")
    if not _REQUIRED_PARTS.issubset(names):
        raise refusal("not_a_workbook")
    if sum(entry.compress_size for entry in entries) > file.seek(0, SEEK_END):
        raise refusal("unsafe", message=tr("The workbook has parts that overlap."))
    return entries


def _unpack(file: BinaryIO, entry: ZipInfo) -> Iterator[bytes]:
    """The real content of a part; `ZipFile.open` would stop at the size in the directory."""
    try:
        file.seek(entry.header_offset)
        magic, name_bytes, extra_bytes = struct.unpack("<4s22xHH", file.read(30))
        name = file.read(name_bytes)
        file.seek(extra_bytes, SEEK_CUR)
    except (OSError, ValueError, struct.error) as error:
        raise refusal("damaged") from error
    encoding = "utf-8" if entry.flag_bits & 0x800 else "cp437"
    if magic != _ZIP_MAGIC or name != entry.orig_filename.encode(encoding):
        raise refusal("damaged")
    packed = _chunks(file, entry.compress_size)
    if entry.compress_type == ZIP_STORED:
        return packed
    if entry.compress_type == ZIP_DEFLATED:
        return _inflate(packed)
    raise refusal("damaged")


def _inflate(packed: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            rest = chunk
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise refusal("damaged") from error
    if not inflater.eof:
        raise refusal("damaged")


def _chunks(file: BinaryIO, max_bytes: int | None = None) -> Iterator[bytes]:
    rest = max_bytes
    while chunk := file.read(_CHUNK_BYTES if rest is None else min(rest, _CHUNK_BYTES)):
        yield chunk
        if rest is not None:
            rest -= len(chunk)


def _check_size(part_bytes: int, total_bytes: int, entry: ZipInfo, limits: Limits) -> None:
    allowed_bytes = max(_ALWAYS_ALLOWED_BYTES, entry.compress_size * _MAX_COMPRESSION)
    if part_bytes > allowed_bytes or total_bytes > limits.unpacked_bytes:
        raise refusal("too_large")


def _check_xml(window: bytes, limits: Limits) -> None:
    """Refuse entities, and values so far away that the rectangle up to them would fill the memory.

    Finds them in the usual spelling only; for all others there are the limits of the sandbox.
    """
    if window.startswith(_UTF_16_MARKS):
        raise refusal("unsafe", message=tr("The workbook has a part in UTF-16, which is not supported."))
    if b"<!DOCTYPE" in window:
        raise refusal("unsafe", message=tr("The workbook declares a document type, which may hide entities."))
    for cell in _THREE_LETTER_CELL.finditer(window):
        if column_index(cell[1].decode()) >= limits.columns:
            raise refusal("too_many_columns", limits, place=tr("Cell {cell}", cell=(cell[1] + cell[2]).decode()))
    end = window.rfind(b"</c>")
    if end != -1 and not window.endswith(_EMPTY_CELL_ENDS, 0, end):
        last = _CELL.match(window, max(0, window.rfind(b"<c ", 0, end)))
        if last and int(last[1]) > limits.rows:
            raise refusal("too_many_rows", limits)
