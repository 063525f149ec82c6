"""What a verification found, and what follows from it."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_FINDINGS = 100
"""Findings that a report lists; it counts them all."""


class Status(enum.Enum):
    """The verdict; its value is the exit code of the command."""

    INTACT = 0
    TAMPERED = 1
    UNDECIDED = 2


class Kind(enum.Enum):
    """What was done to which part of the proof."""

    RECORD_CHANGED = "record_changed"
    RECORD_MISSING = "record_missing"
    RECORD_INSERTED = "record_inserted"
    LEAF_CHANGED = "leaf_changed"
    LEAF_MISSING = "leaf_missing"
    LEAF_INSERTED = "leaf_inserted"
    CHECKPOINT_CHANGED = "checkpoint_changed"
    CHECKPOINT_MISSING = "checkpoint_missing"
    CHECKPOINT_INSERTED = "checkpoint_inserted"
    LOG_REWRITTEN = "log_rewritten"
    LOG_ROLLED_BACK = "log_rolled_back"
    ROW_CHANGED = "row_changed"
    ROW_MISSING = "row_missing"
    ROW_INSERTED = "row_inserted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it was sealed, and where: positions in the tree are `first` up to `last`."""

    kind: Kind
    message: str
    record_id: int | None = None
    resource_type: str | None = None
    resource_id: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        where = [f"record {self.record_id}"] if self.record_id is not None else []
        if self.resource_type is not None:
            where.append(f"{self.resource_type} {self.resource_id}")
        if self.first is not None:
            where.append(f"positions {self.first} to {self.last}")
        return f"{self.kind.value}: {', '.join(where) or 'log'}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        span = None if self.first is None else {"from": self.first, "to": self.last}
        return {
            "kind": self.kind.value,
            "message": self.message,
            "record_id": self.record_id,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "range": span,
        }


@dataclass
class Report:
    """What was looked at and what was found, the first in the order of the log first."""

    records: int = 0
    unsealed: int = 0
    checkpoints: int = 0
    size: int = 0
    first: int = 0
    rows: int | None = None
    findings: list[Finding] = field(default_factory=list)
    count: int = 0
    doubts: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        if self.count:
            return Status.TAMPERED
        return Status.UNDECIDED if self.doubts else Status.INTACT

    def find(self, kind: Kind, message: str, **where: Any) -> None:
        self.count += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind=kind, message=message, **where))

    def doubt(self, reason: str) -> None:
        """Note why something cannot be decided, once."""
        if reason not in self.doubts:
            self.doubts.append(reason)

    def lines(self) -> Iterator[str]:
        """The report for a person."""
        rows = "" if self.rows is None else f", {self.rows} live rows"
        part = f" from position {self.first} on" if self.first else ""
        yield (
            f"{self.status.name.capitalize()}: {self.records} records{part}, {self.unsealed} of them not sealed yet, "
            f"{self.checkpoints} checkpoints{rows}."
        )
        yield from map(str, self.findings)
        if self.count > len(self.findings):
            yield f"and {self.count - len(self.findings)} more."
        yield from self.doubts

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.status.name.lower(),
            "records": self.records,
            "unsealed": self.unsealed,
            "checkpoints": self.checkpoints,
            "size": self.size,
            "from": self.first,
            "rows": self.rows,
            "count": self.count,
            "findings": [finding.as_dict() for finding in self.findings],
            "doubts": self.doubts,
        }
