"""The rows of an uploaded workbook, read by a process that may die of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from app.transfer.package import (
    Limits,
    Package,
    UnreadableWorkbook,
    check_package,
    damaged,
    too_large,
    too_many_columns,
    too_many_rows,
)

__all__ = ["Limits", "Sheet", "UnreadableWorkbook", "Value", "Workbook", "read_workbook"]

Value = str | int | float | bool | None

_LIMITS = Limits()
_READER = Path(__file__).with_name("reader.py")
_REFUSED = 3
# Generous for an honest workbook. The reader keeps a sheet as a rectangle of cells, so that a few
# bytes that put a value into a far corner would otherwise cost all the memory there is.
_MEMORY_BYTES = 96 << 20
_MEMORY_PER_UNPACKED_BYTE = 16
_CPU_SECONDS = 2
_UNPACKED_BYTES_PER_CPU_SECOND = 4 << 20


@dataclass(frozen=True)
class Sheet:
    """A worksheet: its title, and its rows down to the last one with a value."""

    name: str
    row_count: int
    _spool: Path = field(repr=False)
    _offset: int = field(repr=False)

    def rows(self) -> Iterator[list[Value]]:
        """Yield each row from row 1, as often as asked, while the workbook is open.

        A row starts at column A and ends at its last value, so a blank one is `[]`; an empty cell
        is `None`. Dates are ISO 8601 texts, with the time unless it is midnight; times and
        durations are `HH:MM:SS`; an error is its text, such as `#N/A`.
        """
        with self._spool.open("rb") as lines:
            lines.seek(self._offset)
            for line in islice(lines, self.row_count):
                yield orjson.loads(line)


@dataclass(frozen=True)
class Workbook:
    """The worksheets in their order, hidden ones too."""

    sheets: tuple[Sheet, ...]


@contextmanager
def read_workbook(content: bytes | Path, limits: Limits = _LIMITS) -> Iterator[Workbook]:
    """Open an .xlsx or .xlsm file, given as its bytes or its path, for as long as the block lasts.

    Raises `UnreadableWorkbook` with the reason `not_a_workbook`, `old_excel`, `encrypted`,
    `damaged`, `unsafe`, `too_large_unpacked`, `too_many_sheets`, `too_many_rows`,
    `too_many_columns` or `too_slow`. Nothing is left behind in any case.
    """
    with TemporaryDirectory(prefix="workbook-") as directory:
        # A copy, so that nobody can replace what was checked before it is read.
        path = Path(directory, "workbook.xlsx")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            copyfile(content, path)
        with path.open("rb") as file:
            package = check_package(file, limits)
        spool = Path(directory, "rows")
        _spool_rows(path, spool, package, limits)
        yield Workbook(_index_sheets(spool, limits))


def _spool_rows(path: Path, spool: Path, package: Package, limits: Limits) -> None:
    options = {
        "memory_bytes": min(limits.memory_bytes, _MEMORY_BYTES + package.unpacked_bytes * _MEMORY_PER_UNPACKED_BYTE),
        "cpu_seconds": min(limits.seconds, _CPU_SECONDS + package.unpacked_bytes // _UNPACKED_BYTES_PER_CPU_SECOND),
        "output_bytes": limits.unpacked_bytes,
        "sheets": limits.sheets,
        "rows": limits.rows,
        "columns": limits.columns,
        "has_errors": package.has_errors,
    }
    complaint = spool.with_name("complaint")
    with spool.open("wb") as output, complaint.open("wb") as errors:
        try:
            status = subprocess.run(  # noqa: S603 - our own program, without a shell
                [sys.executable, "-I", _READER, path, orjson.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # The environment holds our keys, and a file may find a way to take the reader over.
                env={},
                timeout=limits.seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise _too_slow() from error
    if status == -signal.SIGXCPU:
        raise _too_slow()
    if status in (-signal.SIGABRT, -signal.SIGKILL):
        raise _too_much_memory()
    if status not in (0, _REFUSED):
        # For the log: whether it is the file, or a reader that does not even start.
        raise damaged() from RuntimeError(complaint.read_text(errors="replace")[-2000:])


def _index_sheets(spool: Path, limits: Limits) -> tuple[Sheet, ...]:
    starts: list[tuple[str, int]] = []
    row_counts: list[int] = []
    offset = 0
    with spool.open("rb") as lines:
        for line in lines:
            offset += len(line)
            if line.startswith(b"["):
                row_counts[-1] += 1
                continue
            fact = orjson.loads(line)
            if "error" in fact:
                raise _refusal(fact, limits)
            starts.append((fact["sheet"], offset))
            row_counts.append(0)
    return tuple(
        Sheet(name, row_count, spool, start) for (name, start), row_count in zip(starts, row_counts, strict=True)
    )


def _refusal(fact: dict[str, Any], limits: Limits) -> UnreadableWorkbook:
    match fact["error"]:
        case "too_many_sheets":
            return UnreadableWorkbook(
                "too_many_sheets",
                f"The workbook has {fact['sheets']:,} sheets, and {limits.sheets:,} is the most that is read.",
            )
        case "too_many_rows":
            return too_many_rows(limits)
        case "too_many_columns":
            return too_many_columns(limits, f"Row {fact['row']:,} of sheet {fact['sheet']:.40}")
        case "repeated_sheet":
            return UnreadableWorkbook("unsafe", "The workbook has two sheets with the same content.")
        case "too_much_memory":
            return _too_much_memory()
        case _:
            return too_large()


def _too_much_memory() -> UnreadableWorkbook:
    return UnreadableWorkbook(
        "too_large_unpacked",
        "The workbook takes too much memory to read: look for values far away from all the others.",
    )


def _too_slow() -> UnreadableWorkbook:
    return UnreadableWorkbook("too_slow", "The workbook takes too long to read.")
