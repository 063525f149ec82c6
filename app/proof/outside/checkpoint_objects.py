"""Checkpoints as objects of a bucket. Each object is written once: a bucket may refuse to change or delete it.

Every run of the sealer that has something to write adds an object, `<log>.<first size>-<last size>-<time>.jsonl`, with
the lines that a checkpoint file would get. Two workers may add the same lines; readers take each size once. When there
are many objects, the older ones are merged into one.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import NamedTuple

from app.core.audit.mac import canonical
from app.core.storage.protocol import Storage, StorageError
from app.core.values import utcnow
from app.proof.outside.checkpoint_file import CheckpointEntry, DamagedFile, parse

SINGLE_OBJECTS = 1_000
"""Objects of one run each, after which they are merged: about as many requests as a verification sends."""
MERGED_LINES = 5_000
"""About two megabytes."""
READERS = 8
SET_ASIDE = "set-aside-"

_NAME = re.compile(r"(?P<log>.+)\.(?P<first>\d{20})-(?P<last>\d{20})-(?P<time>\d{8}T\d{6}Z)(?P<merged>-merged)?\.jsonl")


class _CheckpointObject(NamedTuple):
    """An object, by what its name says."""

    first: int
    last: int
    written_at: datetime
    is_merged: bool
    name: str


class ObjectsExtent(NamedTuple):
    log: "CheckpointObjects"
    parts: list[_CheckpointObject]
    size: int

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def is_empty(self) -> bool:
        return not self.parts

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each line with its size, in the order of the sizes; raises DamagedFile."""
        size, parts = -1, self.parts
        while parts:
            try:
                for line in self.log.read(parts):
                    entry = parse(line)
                    if size < entry.size <= self.size:
                        size = entry.size
                        yield size, line
                return
            except FileNotFoundError:
                # Merged into another one meanwhile; if it was deleted, there is nothing to go on with.
                present = self.log.parts()
                if not {part.name for part in parts} - {part.name for part in present}:
                    raise DamagedFile("An object that is listed cannot be read.") from None
                parts = [part for part in present if part.last > size]

    def entries(self) -> Iterator[CheckpointEntry]:
        return (parse(line) for _, line in self.lines())


class CheckpointObjects:
    def __init__(self, storage: Storage, log: str, listed: Sequence[str] | None = None) -> None:
        """`listed` are the names of all objects, if they are not to be asked for."""
        self._storage = storage
        self._log = log
        self._listed = listed

    @property
    def name(self) -> str:
        return f"{self._log}.jsonl"

    def append(self, checkpoints: Iterable[tuple[int, str, str]]) -> None:
        parts = self.parts()
        size = parts[-1].last if parts else -1
        self.write(
            (s, canonical({"size": s, "note": note, "sealed_at": at})) for s, note, at in checkpoints if s > size
        )
        singles = [part for part in parts if not part.is_merged]
        if len(singles) >= SINGLE_OBJECTS:
            self._merge(singles)

    def write(self, lines: Iterable[tuple[int, bytes]], *, merged: bool = False) -> None:
        """Write lines with their sizes into one new object."""
        rows = list(lines)
        if rows:
            span = f"{rows[0][0]:020}-{rows[-1][0]:020}-{utcnow():%Y%m%dT%H%M%SZ}{'-merged' if merged else ''}"
            self._storage.write(f"{self._log}.{span}.jsonl", b"".join(line + b"\n" for _, line in rows))

    def last(self) -> CheckpointEntry | None:
        try:
            return self._last_of(self.parts())
        except FileNotFoundError:
            # Merged into another one since it was listed.
            return self._last_of(CheckpointObjects(self._storage, self._log).parts())

    def _last_of(self, parts: list[_CheckpointObject]) -> CheckpointEntry | None:
        if not parts:
            return None
        *_, line = self.read(parts[-1:])
        return parse(line)

    def written_at(self) -> datetime | None:
        return max((part.written_at for part in self.parts()), default=None)

    def others(self) -> "Iterator[CheckpointObjects]":
        after = ""
        while name := next(self._names(after), None):
            match = _NAME.fullmatch(name)
            log = name.split(".")[0] if match is None else match["log"]
            if match and log != self._log and not name.startswith(SET_ASIDE):
                yield CheckpointObjects(self._storage, log, self._listed)
            # Skips the other objects of that log: there may be thousands.
            after = max(name, f"{SET_ASIDE}z" if name.startswith(SET_ASIDE) else f"{log}.z")

    def as_listed_now(self) -> "CheckpointObjects":
        return CheckpointObjects(self._storage, self._log, list(self._storage.names()))

    def measure(self) -> ObjectsExtent:
        parts = self.parts()
        try:
            last = self._last_of(parts)
        except DamagedFile:
            last = None
        return ObjectsExtent(self, parts, last.size if last else 0)

    def parts(self) -> list[_CheckpointObject]:
        """The objects in the order of their sizes."""
        parts = []
        beginning = f"{self._log}."
        for name in takewhile(lambda name: name.startswith(beginning), self._names(beginning)):
            if match := _NAME.fullmatch(name):
                written_at = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                parts.append(
                    _CheckpointObject(int(match["first"]), int(match["last"]), written_at, bool(match["merged"]), name)
                )
        return sorted(parts, key=lambda part: (part.last, part.first))

    def _names(self, after: str) -> Iterator[str]:
        if self._listed is None:
            return self._storage.names(after)
        return iter(self._listed[bisect_right(self._listed, after) :])

    def read(self, parts: Iterable[_CheckpointObject]) -> Iterator[bytes]:
        """The lines of objects, some of which are read ahead; raises FileNotFoundError."""
        with ThreadPoolExecutor(READERS) as pool:
            for content in pool.map(self._content, parts):
                yield from content.splitlines()

    def _content(self, part: _CheckpointObject) -> bytes:
        with self._storage.open(part.name) as file:
            return file.read()

    def _merge(self, parts: list[_CheckpointObject]) -> None:
        """Write the lines of objects into few, then delete those. A process that dies before leaves each line twice."""
        lines = list(ObjectsExtent(self, parts, parts[-1].last).lines())
        for start in range(0, len(lines), MERGED_LINES):
            self.write(lines[start : start + MERGED_LINES], merged=True)
        # A bucket that refuses to delete keeps all of them.
        with suppress(StorageError):
            self._storage.delete(part.name for part in parts)
