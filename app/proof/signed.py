"""The checkpoints of the database beside those that are kept outside: which of them can be believed."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, UnknownKey, Verifier, open_note, read
from app.proof.findings import Kind, Report
from app.proof.merkle import Frontier
from app.proof.outside import DamagedFile, Line


class Row(NamedTuple):
    """A checkpoint of the database."""

    size: int
    note: str
    frontier: bytes


class Checkpoints:
    """Goes through both in the order of their sizes and answers those that were signed."""

    def __init__(self, report: Report, verifiers: list[Verifier]) -> None:
        self._report = report
        self._verifiers = verifiers
        self._newest_key = len(verifiers)

    def believed(self, rows: Iterable[Row], lines: Iterable[Line], last_outside: int) -> Iterator[Checkpoint]:
        """The checkpoints to compare the tree with; `last_outside` is the size of the last one that is kept outside."""
        inside, kept = iter(rows), self._until_damaged(lines)
        row, line = next(inside, None), next(kept, None)
        while row is not None or line is not None:
            size = min(each.size for each in (row, line) if each is not None)
            here = row if row is not None and row.size == size else None
            there = line if line is not None and line.size == size else None
            self._report.checkpoints += here is not None
            checkpoint = self._judge(size, here, there, last_outside)
            if checkpoint is not None:
                yield checkpoint
            row = next(inside, None) if here is not None else row
            line = next(kept, None) if there is not None else line

    def _judge(self, size: int, row: Row | None, line: Line | None, last_outside: int) -> Checkpoint | None:
        outside = self._open(size, line.note) if line is not None else None
        if line is not None and outside is None:
            message = f"The checkpoint at {size} that is kept outside was changed."
            self._report.find(Kind.CHECKPOINT_CHANGED, message, first=0, last=size - 1)
        if row is None:
            message = f"The checkpoint at {size} is kept outside and is not in the database."
            self._report.find(Kind.CHECKPOINT_MISSING, message, first=0, last=size - 1)
            return outside
        inside = self._open(size, row.note) if line is None or row.note != line.note else outside
        if line is None and size <= last_outside:
            message = f"The checkpoint at {size} is not among those that are kept outside."
            self._report.find(Kind.CHECKPOINT_INSERTED, message, first=0, last=size - 1)
        if inside is None or (outside is not None and inside != outside) or not _has_made(row, inside):
            message = f"The checkpoint at {size} was changed."
            self._report.find(Kind.CHECKPOINT_CHANGED, message, first=0, last=size - 1)
        return outside or inside

    def _open(self, size: int, note: str) -> Checkpoint | None:
        """What a note says; None where it was not signed, or not for this size, or with a key that was over."""
        try:
            checkpoint, key = open_note(note, self._verifiers)
        except UnknownKey as error:
            if self._newest_key < len(self._verifiers):
                return None
            # Not one known key yet: it may be from before the first that is configured.
            self._report.doubt(f"{error} See AUDIT_KEYS_BEFORE.")
            checkpoint, key = read(note), self._newest_key
        except InvalidCheckpoint:
            return None
        if checkpoint.size != size or key > self._newest_key:
            return None
        self._newest_key = key
        return checkpoint

    def _until_damaged(self, lines: Iterable[Line]) -> Iterator[Line]:
        try:
            yield from lines
        except DamagedFile as error:
            self._report.find(Kind.CHECKPOINT_CHANGED, f"The checkpoints outside: {error}")


def _has_made(row: Row, checkpoint: Checkpoint) -> bool:
    try:
        return Frontier(row.size, row.frontier).root == checkpoint.root
    except ValueError:
        return False
