"""The report of a verification: findings, doubts, and the verdict."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_FINDINGS = 100
"""Findings that a report lists; all of them are counted."""


class Status(enum.Enum):
    """The verdict; its value is the exit code of the command."""

    INTACT = 0
    TAMPERED = 1
    UNDECIDED = 2


class FindingKind(enum.Enum):
    """Which part of the proof was changed, and how."""

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
    """One difference from what was sealed; `first` and `last` are the positions in the tree that it covers."""

    kind: FindingKind
    message: str
    record_id: int | None = None
    resource_type: str | None = None
    resource_id: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        places = [f"record {self.record_id}"] if self.record_id is not None else []
        if self.resource_type is not None:
            places.append(f"{self.resource_type} {self.resource_id}")
        if self.first is not None:
            places.append(f"positions {self.first} to {self.last}")
        return f"{self.kind.value}: {', '.join(places) or 'log'}: {self.message}"

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
    """What was verified and what was found, in the order of the log.

    `first` is the position from which the log was verified, `count` the number of findings, and `rows` the number of
    live rows, None if they were not compared.
    """

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

    def add(self, kind: FindingKind, message: str, **details: Any) -> None:
        self.count += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind=kind, message=message, **details))

    def add_doubt(self, reason: str) -> None:
        """Note once why something cannot be decided."""
        if reason not in self.doubts:
            self.doubts.append(reason)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        rows = "" if self.rows is None else f", {self.rows} live rows"
        start = f" from position {self.first} on" if self.first else ""
        yield (
            f"{self.status.name.capitalize()}: {self.records} records{start}, {self.unsealed} of them not sealed yet, "
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
