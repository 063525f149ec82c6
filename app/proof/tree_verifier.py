"""Verification of the tree, leaf by leaf: the record as it is now, the leaf that was kept, the root that was signed."""

from collections.abc import Iterator
from typing import Any

from app.core.audit.mac import AuditKey, canonical, mac_of
from app.proof.checkpoints import Checkpoint
from app.proof.event_verifier import EventVerifier, PreviousRecord
from app.proof.merkle import Frontier, leaf_hash
from app.proof.report import FindingKind, Report


class MacVerifier:
    """Verifies the MAC of each record, in the order of sealing."""

    def __init__(self, report: Report, keys: tuple[AuditKey, ...], events: EventVerifier) -> None:
        self._report = report
        self._events = events
        self._keys = {key.id: key for key in keys}
        self._has_seen_key = False
        # Records that are reported already. The MAC of the next version cannot match, and is not reported again.
        self.wrong: set[int] = set()

    def skip(self, content: dict[str, Any]) -> None:
        """Follow the chain of a record that is known to be wrong."""
        self.wrong.add(content["id"])
        if content["version"] is None:
            self._events.previous(content)

    def verify(self, content: dict[str, Any], previous: PreviousRecord, position: int | None) -> None:
        """Verify a record; `previous` is that of the version before, which an event does not have."""
        version, number = content["version"], content["version"]
        if version is None:
            previous, number = self._events.previous(content), content["event_number"]
        if previous.record_id in self.wrong:
            return
        if number is not None and number > 1 and previous.record_id is None:
            before = f"Version {number - 1} of this object"
            if version is None:
                before = f"Event {number - 1} of chain {content['event_chain']}"
            self._report.add(FindingKind.RECORD_MISSING, f"{before} has no record.", **_object(content))
        elif not self._is_valid(content, previous.mac):
            self.wrong.add(content["id"])
            kind, message = FindingKind.RECORD_CHANGED, "The record and its leaf were rewritten: its MAC is wrong."
            if position is None:
                kind = kind if self._key_of(content) else FindingKind.RECORD_INSERTED
                message = "The record is not sealed yet, and its MAC is not ours."
            self._report.add(kind, message, record_id=content["id"], **_object(content), first=position, last=position)

    def _is_valid(self, content: dict[str, Any], previous_mac: str | None) -> bool:
        mac = content["mac"]
        if mac is None:
            return False
        key = self._key_of(content)
        if key is None:
            # Keys are rotated in one direction: behind a configured key there is no record of an earlier one.
            if not self._has_seen_key:
                self._report.add_doubt("Records carry MACs of a key that is not known here: see AUDIT_KEYS_BEFORE.")
            return not self._has_seen_key
        self._has_seen_key = True
        return bool(mac_of(key, content, previous_mac) == mac)

    def _key_of(self, content: dict[str, Any]) -> AuditKey | None:
        return self._keys.get(str(content["mac"]).partition(":")[0])


class TreeVerifier:
    """Takes the leaves in order and compares the root of the tree with every signed checkpoint.

    While records and leaves agree there is one tree. Where they differ, a tree of the records and a tree of the kept
    leaves are continued up to the next checkpoint, whose root tells which of them was signed.
    """

    def __init__(self, report: Report, macs: MacVerifier, frontier: Frontier, signed: Iterator[Checkpoint]) -> None:
        self._report = report
        self._macs = macs
        self._tree_of_records = self._tree_of_leaves = frontier
        self._signed = signed
        self._next = next(signed, None)
        # Differences since the last checkpoint: (position, record id, whether the record exists).
        self._differences: list[tuple[int, int, bool]] = []
        self._last_checkpoint = self.position = frontier.size
        self._is_incomplete = False
        self._compare()

    def add(
        self, position: int, record_id: int, leaf: bytes, content: dict[str, Any] | None, previous: PreviousRecord
    ) -> None:
        """Take the leaf at a position and the content of its record, None if there is none."""
        if position > self.position:
            self._report.add(FindingKind.LEAF_MISSING, "Leaves are missing.", first=self.position, last=position - 1)
        if position != self.position:
            # Without all leaves no root can be computed any more.
            self._is_incomplete, self.position = True, position
        computed = None if content is None else leaf_hash(_bytes_of(content))
        if computed != leaf:
            if self._tree_of_records is self._tree_of_leaves:
                self._tree_of_records = self._tree_of_records.copy()
            self._differences.append((position, record_id, content is not None))
            if content is not None:
                self._macs.skip(content)
        elif content is not None:
            self._macs.verify(content, previous, position)
        self._tree_of_leaves.append(leaf)
        if self._tree_of_records is not self._tree_of_leaves:
            self._tree_of_records.append(computed or leaf)
        self.position += 1
        self._report.records += content is not None
        self._compare()

    def finish(self, newest: int) -> None:
        """Report leaves behind the last checkpoint and signed leaves that are gone; `newest`: the database's last."""
        self._report_differences()
        if self._next is not None:
            last = max([self._next.size, *(checkpoint.size for checkpoint in self._signed)])
            kind, message = FindingKind.LEAF_MISSING, "Leaves that were signed are missing at the end."
            if newest == self.position:
                kind, message = FindingKind.LOG_ROLLED_BACK, "The log is an earlier state of the one that was signed."
            self._report.add(kind, message, first=self.position, last=last - 1)
        elif self._last_checkpoint < self.position:
            message = "These leaves are behind the last checkpoint: no checkpoint covers them."
            self._report.add(FindingKind.LEAF_INSERTED, message, first=self._last_checkpoint, last=self.position - 1)

    def _compare(self) -> None:
        while self._next is not None and self._next.size <= self.position:
            checkpoint, self._next = self._next, next(self._signed, None)
            self._compare_with(checkpoint)
            self._last_checkpoint = self.position

    def _compare_with(self, checkpoint: Checkpoint) -> None:
        has_split = self._tree_of_records is not self._tree_of_leaves
        if has_split and self._tree_of_records.root == checkpoint.root and not self._is_incomplete:
            self._report_differences(leaves_are_wrong=True)
        elif self._is_incomplete or self._tree_of_leaves.root == checkpoint.root:
            self._report_differences()
        else:
            self._report_differences()
            message = "The tree is not the one that was signed: records and leaves in this range were rewritten."
            self._report.add(FindingKind.LOG_REWRITTEN, message, first=self._last_checkpoint, last=self.position - 1)
            self._is_incomplete = True

    def _report_differences(self, *, leaves_are_wrong: bool = False) -> None:
        """Report the differences since the last checkpoint, and continue with the tree that was signed."""
        for position, record_id, exists in self._differences:
            kind, message = FindingKind.RECORD_CHANGED, "The record is not the one that was sealed."
            if not exists:
                kind, message = FindingKind.RECORD_MISSING, "A sealed record is missing."
            elif leaves_are_wrong:
                kind, message = FindingKind.LEAF_CHANGED, "The leaf was changed; its record is the one that was signed."
            self._report.add(kind, message, record_id=record_id, first=position, last=position)
        tree = self._tree_of_records if leaves_are_wrong else self._tree_of_leaves
        self._tree_of_records = self._tree_of_leaves = tree
        self._differences = []


def _bytes_of(content: dict[str, Any]) -> bytes:
    """The canonical bytes of a record; for values that cannot be encoded, bytes that no leaf is the hash of."""
    try:
        return canonical(content)
    except TypeError:
        return repr(content).encode()


def _object(content: dict[str, Any]) -> dict[str, Any]:
    return {"resource_type": content["resource_type"], "resource_id": content["resource_id"]}
