"""The checkpoints outside the database: a file that is only appended to, one JSON object a line.

Whoever rules the database can roll all of it back, and nothing in it would tell. This file does.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from app.core.audit.mac import canonical

_BLOCK = 1 << 16


class Line(NamedTuple):
    """A checkpoint of the file: `{"note": …, "sealed_at": …, "size": …}`."""

    size: int
    note: str


class State(NamedTuple):
    """The file as it was at a moment: its complete lines, and the size that the last of them is about."""

    path: Path
    length: int
    size: int


class DamagedFile(Exception):
    """A line of the file is none of ours."""


def append(path: Path, checkpoints: Iterable[tuple[int, str, str]]) -> None:
    """Append (size, note, time) of those that are larger than the file's last, durably.

    Raises OSError, and DamagedFile where its end is none of ours.
    """
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _complete_end(file.fileno())
        # A line without its end was never complete: the process or the machine stopped in the middle of it.
        file.truncate(end)
        last = _last(file.fileno(), end)
        size = last.size if last else -1
        new = [canonical({"size": s, "note": note, "sealed_at": at}) for s, note, at in checkpoints if s > size]
        file.write(b"".join(line + b"\n" for line in new))
        file.flush()
        os.fsync(file.fileno())
    if last is None:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            # The name of a new file is durable only with its directory.
            os.fsync(directory)
        finally:
            os.close(directory)


def last(path: Path) -> Line | None:
    """The last complete line; None without a file, or with an empty one. Raises DamagedFile."""
    try:
        with path.open("rb") as file:
            return _last(file.fileno(), _complete_end(file.fileno()))
    except FileNotFoundError:
        return None


def state(path: Path) -> State:
    """What the file is now; of size 0 where its last line is none of ours."""
    try:
        with path.open("rb") as file:
            length = _complete_end(file.fileno())
            last = _last(file.fileno(), length)
    except FileNotFoundError:
        return State(path, 0, 0)
    except DamagedFile:
        return State(path, length, 0)
    return State(path, length, last.size if last else 0)


def lines(kept: State) -> Iterator[Line]:
    """The lines that there were; raises DamagedFile."""
    if not kept.length:
        return
    with kept.path.open("rb") as file:
        while file.tell() < kept.length:
            yield _parse(file.readline())


def _complete_end(file: int) -> int:
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _last(file: int, end: int) -> Line | None:
    if not end:
        return None
    start, text = end, b""
    while start and b"\n" not in text[:-1]:
        start = max(0, start - _BLOCK)
        text = os.pread(file, end - start, start)
    return _parse(text[:-1].rpartition(b"\n")[2])


def _parse(line: bytes) -> Line:
    try:
        told = orjson.loads(line)
        size, note = told["size"], told["note"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DamagedFile("A line of the file is no checkpoint.") from None
    if not isinstance(size, int) or not isinstance(note, str):
        raise DamagedFile("A line of the file is no checkpoint.")
    return Line(size, note)
