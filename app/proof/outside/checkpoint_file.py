"""The checkpoint file outside the database: append-only, one JSON object per line.

An administrator of the database can roll all of it back without a trace in the database itself; this file shows it.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from app.core.audit.mac import canonical
from app.core.storage.folder import sync_directory

_BLOCK_BYTES = 1 << 16


class CheckpointEntry(NamedTuple):
    """A line of the file: `{"note": …, "sealed_at": …, "size": …}`."""

    size: int
    note: str


class FileExtent(NamedTuple):
    """The file at one moment: the bytes of its complete lines, and the size of the tree in the last of them."""

    path: Path
    length: int
    size: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_empty(self) -> bool:
        return not self.length

    def entries(self) -> Iterator[CheckpointEntry]:
        """The lines; raises DamagedFile."""
        if self.is_empty:
            return
        with self.path.open("rb") as file:
            while file.tell() < self.length:
                yield parse(file.readline())


class DamagedFile(Exception):
    """A line of the file is no checkpoint."""


class CheckpointFile(NamedTuple):
    """The checkpoint file of a log, beside which there may be those of others."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def append(self, checkpoints: Iterable[tuple[int, str, str]]) -> None:
        """Append (size, note, time) of the checkpoints that are larger than the last one of the file, durably.

        Raises OSError, and DamagedFile if the last line is no checkpoint.
        """
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = _complete_end(file.fileno())
            # Cut off an incomplete last line: the process or the machine stopped while it was written.
            file.truncate(end)
            last = _read_last(file.fileno(), end)
            size = last.size if last else -1
            lines = [canonical({"size": s, "note": note, "sealed_at": at}) for s, note, at in checkpoints if s > size]
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if last is None:
            sync_directory(self.path.parent)

    def last(self) -> CheckpointEntry | None:
        """The last complete line; None if the file is missing or empty. Raises DamagedFile."""
        try:
            with self.path.open("rb") as file:
                return _read_last(file.fileno(), _complete_end(file.fileno()))
        except FileNotFoundError:
            return None

    def written_at(self) -> datetime | None:
        try:
            return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def others(self) -> "Iterator[CheckpointFile]":
        return (CheckpointFile(other) for other in sorted(self.path.parent.glob("*.jsonl")) if other != self.path)

    def as_listed_now(self) -> "CheckpointFile":
        return self

    def measure(self) -> FileExtent:
        """The extent of the file now; its size is 0 if the last line is no checkpoint."""
        try:
            with self.path.open("rb") as file:
                length = _complete_end(file.fileno())
                last = _read_last(file.fileno(), length)
        except FileNotFoundError:
            return FileExtent(self.path, 0, 0)
        except DamagedFile:
            return FileExtent(self.path, length, 0)
        return FileExtent(self.path, length, last.size if last else 0)


def _complete_end(file: int) -> int:
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _read_last(file: int, end: int) -> CheckpointEntry | None:
    if not end:
        return None
    start, text = end, b""
    while start and b"\n" not in text[:-1]:
        start = max(0, start - _BLOCK_BYTES)
        text = os.pread(file, end - start, start)
    return parse(text[:-1].rpartition(b"\n")[2])


def parse(line: bytes) -> CheckpointEntry:
    """A line; raises DamagedFile."""
    try:
        entry = orjson.loads(line)
        size, note = entry["size"], entry["note"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DamagedFile("A line of the file is no checkpoint.") from None
    if not isinstance(size, int) or not isinstance(note, str):
        raise DamagedFile("A line of the file is no checkpoint.")
    return CheckpointEntry(size, note)
