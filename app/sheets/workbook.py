"""Read the rows of an uploaded file, a workbook or delimited text, in the sandbox."""

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import orjson

from app.core.messages import tr
from app.sheets.cells import Value
from app.sheets.limits import Limits, UnreadableWorkbook, refusal
from app.sheets.package import check_package
from app.sheets.sandbox.runner import TEXT, WORKBOOK, run_program

__all__ = ["FileKind", "Limits", "Sheet", "UnreadableWorkbook", "Value", "Workbook", "check_file", "read_workbook"]

_LIMITS = Limits()
_TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})
_OTHER_KINDS = (
    (re.compile(rb"PK\x03\x04"), tr("is a workbook or another zip file: rename it")),
    (re.compile(rb"\xd0\xcf\x11\xe0"), tr("is an old Office file")),
    (re.compile(rb"%PDF"), tr("is a PDF")),
    (re.compile(rb"<(!--|!doctype|\?xml|html|head|meta|style|table)", re.IGNORECASE), tr("is a web page or XML")),
)
_MAX_NAME = 255
_CHUNK_BYTES = 1 << 20

Watch = Callable[[int, int], None]
"""Called while a file is read, with the number of rows that have been read and of all that it seems to have.

The latter is 0 where the file does not say it. What it raises ends the reading.
"""


def _watch_nothing(_rows: int, _expected: int) -> None:
    """The default of `watch`: does nothing."""


class FileKind(enum.Enum):
    """The kind of an upload by its name; `check_file` refuses another content."""

    WORKBOOK = "workbook"
    TEXT = "text"

    @classmethod
    def of(cls, filename: str) -> "FileKind":
        return cls.TEXT if PurePath(filename).suffix.lower() in _TEXT_SUFFIXES else cls.WORKBOOK


@dataclass(frozen=True)
class Sheet:
    """A worksheet: its name, its rows down to the last one with a value, and `layout`, what of it is hidden or merged.

    `text` is how delimited text was read ("encoding", "delimiter", "line_end"), and None for a workbook. With
    `epoch_1904` dates as numbers count from 1904.
    """

    name: str
    row_count: int
    _spool: Path = field(repr=False)
    _offset: int = field(repr=False)
    text: dict[str, str] | None = None
    epoch_1904: bool = False
    layout: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers have a decimal comma; files of such locales separate cells with semicolons."""
        return self.text is not None and self.text["delimiter"] == ";"

    def rows(self) -> Iterator[list[Value]]:
        """Iterate over the rows from row 1, any number of times, while the workbook is open.

        A row starts at column A, a blank row is `[]`, an empty cell is `None`. A row of a workbook ends at its last
        value, one of delimited text has as many cells as there. Dates are
        ISO 8601 texts, with the time unless it is midnight; times and durations are `HH:MM:SS`; an error is its text,
        such as `#N/A`, a formula without a stored value UNCOMPUTED. All cells of delimited text are texts.
        """
        with self._spool.open("rb") as lines:
            lines.seek(self._offset)
            for line in islice(lines, self.row_count):
                yield orjson.loads(line)


@dataclass(frozen=True)
class Workbook:
    """The worksheets in their order, including hidden ones."""

    sheets: tuple[Sheet, ...]


def check_file(file: BinaryIO, filename: str, limits: Limits = _LIMITS) -> None:
    """Check an upload without reading its rows; raises UnreadableWorkbook."""
    if FileKind.of(filename) is FileKind.TEXT:
        _check_text(file)
    else:
        check_package(file, limits)


@contextmanager
def read_workbook(
    content: bytes | Path,
    limits: Limits = _LIMITS,
    *,
    filename: str = "workbook.xlsx",
    encoding: str | None = None,
    watch: Watch = _watch_nothing,
) -> Iterator[Workbook]:
    """Open a file, given as its bytes or its path; its name decides its kind. A context manager.

    `encoding` is that of delimited text; None, it is detected. `watch` is told how many rows have been read.

    Raises `UnreadableWorkbook` with the reason `not_a_workbook`, `old_excel`, `encrypted`,
    `damaged`, `unsafe`, `too_large_unpacked`, `too_many_sheets`, `too_many_rows`,
    `too_many_columns` or `too_slow`; for text, also `not_csv` or `too_long_line`. Temporary files
    are deleted in any case.
    """
    with TemporaryDirectory(prefix="workbook-") as directory:
        # A copy, so that the file cannot be replaced between the check and the reading.
        path = Path(directory, "workbook")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            copyfile(content, path)
        # The rows are in memory beside it otherwise.
        del content
        spool = Path(directory, "rows")
        if FileKind.of(filename) is FileKind.TEXT:
            _spool_text(path, PurePath(filename).stem, encoding, spool, limits, watch=watch)
        else:
            _spool_sheets(path, spool, limits, watch)
        sheets = _index_sheets(spool)
        row_count = sum(sheet.row_count for sheet in sheets)
        watch(row_count, row_count)
        yield Workbook(sheets)


def _spool_sheets(path: Path, spool: Path, limits: Limits, watch: Watch) -> None:
    with path.open("rb") as file:
        package = check_package(file, limits, find_special_cells=True)
    options = {"path": str(path), "sheets": limits.sheets, "has_special_cells": package.has_special_cells}
    # Some programs give a sheet all rows that there can be.
    declared = package.declared_rows or 0
    expected = declared if declared <= limits.rows else 0
    run_program(WORKBOOK, options, package.unpacked_bytes, limits, spool, watch=lambda rows: watch(rows, expected))


def _spool_text(path: Path, title: str, encoding: str | None, spool: Path, limits: Limits, *, watch: Watch) -> None:
    with path.open("rb") as file:
        _check_text(file)
        lines = _line_count(file)
    options = {"path": str(path), "sheet": title[:_MAX_NAME], "encoding": encoding}
    run_program(TEXT, options, path.stat().st_size, limits, spool, watch=lambda rows: watch(rows, lines))


def _check_text(file: BinaryIO) -> None:
    """Refuse other kinds of file by their first bytes."""
    file.seek(0)
    head = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, content in _OTHER_KINDS:
        if magic.match(head):
            raise refusal("not_text", content=content)


def _line_count(file: BinaryIO) -> int:
    """The number of lines of a text. Its rows may be fewer: a quoted cell can have several lines."""
    file.seek(0)
    feeds = returns = 0
    while chunk := file.read(_CHUNK_BYTES):
        feeds += chunk.count(b"\n")
        returns += chunk.count(b"\r")
    return feeds or returns


def _index_sheets(spool: Path) -> tuple[Sheet, ...]:
    facts: list[tuple[dict[str, Any], int]] = []
    row_counts: list[int] = []
    offset = 0
    with spool.open("rb") as lines:
        for line in lines:
            offset += len(line)
            if line.startswith(b"["):
                row_counts[-1] += 1
            else:
                facts.append((orjson.loads(line), offset))
                row_counts.append(0)
    return tuple(
        Sheet(
            fact["sheet"],
            row_count,
            spool,
            start,
            fact.get("text"),
            fact.get("epoch_1904", False),
            fact.get("layout", {}),
        )
        for (fact, start), row_count in zip(facts, row_counts, strict=True)
    )
