"""Where the checkpoints of a log are kept outside the database: the folder or the bucket of AUDIT_CHECKPOINTS."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

from flask import current_app

from app.core.audit.shared_heads import audit_storage
from app.proof.outside.checkpoint_file import CheckpointEntry, CheckpointFile
from app.proof.outside.checkpoint_objects import CheckpointObjects


class Extent(Protocol):
    """The checkpoints that were there at one moment."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """That of the tree in the last of them; 0 if there is none, or if it is damaged."""

    @property
    def is_empty(self) -> bool: ...

    def entries(self) -> Iterator[CheckpointEntry]:
        """All of them in the order of their sizes; raises DamagedFile."""


class CheckpointLog(Protocol):
    """The checkpoints of one log, which are only ever appended. Every method may raise OSError."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def append(self, checkpoints: Iterable[tuple[int, str, str]]) -> None:
        """Append (size, note, time) of the checkpoints that are larger than the last one, durably."""

    def last(self) -> CheckpointEntry | None:
        """The last one; None if there is none. Raises DamagedFile."""

    def written_at(self) -> datetime | None:
        """When the last one was written, by a clock that the database has no part in."""

    def others(self) -> "Iterable[CheckpointLog]":
        """Those of other logs in the same place."""

    def as_listed_now(self) -> "CheckpointLog":
        """The same checkpoints, to be read: a bucket is listed now, and not for each question."""

    def measure(self) -> Extent: ...


def checkpoint_log_of(log_name: str) -> CheckpointLog:
    """The checkpoints of the log of this name."""
    name = log_name.replace("/", "-")
    if storage := audit_storage():
        return CheckpointObjects(storage, name)
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    return CheckpointFile(folder / f"{name}.jsonl")
