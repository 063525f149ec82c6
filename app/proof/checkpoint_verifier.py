"""Verification of the checkpoints: those of the database against those of the checkpoint file, and their signatures."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, UnknownKey, VerifierKey, open_note, read
from app.proof.merkle import Frontier
from app.proof.outside.checkpoint_file import CheckpointEntry, DamagedFile
from app.proof.report import FindingKind, Report


class StoredCheckpoint(NamedTuple):
    """A checkpoint of the database."""

    size: int
    note: str
    frontier: bytes


class CheckpointVerifier:
    """Takes the checkpoints of database and file in the order of their sizes and yields those that were signed."""

    def __init__(self, report: Report, keys: list[VerifierKey]) -> None:
        self._report = report
        self._keys = keys
        # The index of the newest key that has signed so far; keys are rotated in one direction.
        self._newest_key = len(keys)

    def select_signed(
        self, stored: Iterable[StoredCheckpoint], entries: Iterable[CheckpointEntry], last_in_file: int
    ) -> Iterator[Checkpoint]:
        """The checkpoints to compare the tree with; `last_in_file` is the size of the last one of the file."""
        rows, lines = iter(stored), self._until_damaged(entries)
        row, entry = next(rows, None), next(lines, None)
        while row is not None or entry is not None:
            size = min(each.size for each in (row, entry) if each is not None)
            in_database = row if row is not None and row.size == size else None
            in_file = entry if entry is not None and entry.size == size else None
            self._report.checkpoints += in_database is not None
            checkpoint = self._verify(size, in_database, in_file, last_in_file)
            if checkpoint is not None:
                yield checkpoint
            row = next(rows, None) if in_database is not None else row
            entry = next(lines, None) if in_file is not None else entry

    def _verify(
        self, size: int, in_database: StoredCheckpoint | None, in_file: CheckpointEntry | None, last_in_file: int
    ) -> Checkpoint | None:
        def add(kind: FindingKind, message: str) -> None:
            self._report.add(kind, f"The checkpoint at {size} {message}", first=0, last=size - 1)

        of_file = self._open(size, in_file.note) if in_file is not None else None
        if in_file is not None and of_file is None:
            add(FindingKind.CHECKPOINT_CHANGED, "that is kept outside was changed.")
        if in_database is None:
            add(FindingKind.CHECKPOINT_MISSING, "is kept outside and is not in the database.")
            return of_file
        is_same = in_file is not None and in_database.note == in_file.note
        of_database = of_file if is_same else self._open(size, in_database.note)
        if in_file is None and size <= last_in_file:
            add(FindingKind.CHECKPOINT_INSERTED, "is not among those that are kept outside.")
        if (
            of_database is None
            or (of_file is not None and of_database != of_file)
            or not _has_root(in_database, of_database)
        ):
            add(FindingKind.CHECKPOINT_CHANGED, "was changed.")
        return of_file or of_database

    def _open(self, size: int, note: str) -> Checkpoint | None:
        """The checkpoint in a note; None without a valid signature, for another size, or by a key already replaced."""
        try:
            checkpoint, key = open_note(note, self._keys)
        except UnknownKey as error:
            if self._newest_key < len(self._keys):
                return None
            # Before the first signature by a configured key, an earlier key may have been in use.
            self._report.add_doubt(f"{error} See AUDIT_KEYS_BEFORE.")
            checkpoint, key = read(note), self._newest_key
        except InvalidCheckpoint:
            return None
        if checkpoint.size != size or key > self._newest_key:
            return None
        self._newest_key = key
        return checkpoint

    def _until_damaged(self, entries: Iterable[CheckpointEntry]) -> Iterator[CheckpointEntry]:
        try:
            yield from entries
        except DamagedFile as error:
            self._report.add(FindingKind.CHECKPOINT_CHANGED, f"The checkpoints outside: {error}")


def _has_root(row: StoredCheckpoint, checkpoint: Checkpoint) -> bool:
    try:
        return Frontier(row.size, row.frontier).root == checkpoint.root
    except ValueError:
        return False
