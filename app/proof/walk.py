"""Walking the tree leaf by leaf: what a record says now, what its leaf kept, and what was signed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from app.core.audit.mac import Key, canonical, mac_of
from app.proof.checkpoints import Checkpoint
from app.proof.findings import Kind, Report
from app.proof.merkle import Frontier, leaf_hash


class Before(NamedTuple):
    """The record that a record is linked to: the version before of the same object."""

    record_id: int | None
    mac: str | None


class Links:
    """Checks the MAC of each record, in the order of sealing."""

    def __init__(self, report: Report, keys: tuple[Key, ...]) -> None:
        self._report = report
        self._keys = {key.id: key for key in keys}
        self._has_seen_mac = self._has_seen_key = False
        # Whatever is linked to these cannot be right, and is not to blame.
        self.wrong: set[int] = set()

    def check(self, content: dict[str, Any], before: Before, position: int | None) -> None:
        version = content["version"]
        if before.record_id in self.wrong:
            return
        if version is not None and version > 1 and before.record_id is None:
            message = f"Version {version - 1} of this object has no record."
            self._report.find(Kind.RECORD_MISSING, message, **_object(content))
        elif not self._is_right(content, before.mac):
            self.wrong.add(content["id"])
            kind, message = Kind.RECORD_CHANGED, "The record and its leaf were rewritten: its MAC is wrong."
            if position is None:
                kind = kind if self._key_of(content) else Kind.RECORD_INSERTED
                message = "The record is not sealed yet, and its MAC is not ours."
            self._report.find(kind, message, record_id=content["id"], **_object(content), first=position, last=position)

    def _is_right(self, content: dict[str, Any], mac_before: str | None) -> bool:
        mac = content["mac"]
        if mac is None:
            # From a time without MACs, which ended with the first of them.
            return not self._has_seen_mac
        self._has_seen_mac = True
        key = self._key_of(content)
        if key is None:
            # Keys follow each other: behind a known one nobody writes with an earlier one.
            if not self._has_seen_key:
                self._report.doubt("Records carry MACs of a key that is not known here: see AUDIT_KEYS_BEFORE.")
            return not self._has_seen_key
        self._has_seen_key = True
        linked = dict(content)
        del linked["id"], linked["mac"]
        is_right: bool = mac_of(key, linked, mac_before) == mac
        return is_right

    def _key_of(self, content: dict[str, Any]) -> Key | None:
        return self._keys.get(str(content["mac"]).partition(":")[0])


class Walk:
    """Goes through the leaves in order and compares the tree with each checkpoint on its way.

    As long as records and leaves agree there is one tree. Where they do not, both are followed up to the next
    checkpoint, which says which of them was signed.
    """

    def __init__(self, report: Report, links: Links, frontier: Frontier, signed: Iterator[Checkpoint]) -> None:
        self._report = report
        self._links = links
        self._recorded = self._kept = frontier
        self._signed = signed
        self._next = next(signed, None)
        # What disagrees since the last checkpoint: (position, record id, whether the record is there).
        self._differing: list[tuple[int, int, bool]] = []
        self._since = self.position = frontier.size
        self._is_lost = False
        self._compare()

    def step(self, position: int, record_id: int, kept: bytes, content: dict[str, Any] | None, before: Before) -> None:
        """Take the leaf at a position and its record, if there is one."""
        if position > self.position:
            self._report.find(Kind.LEAF_MISSING, "Leaves are missing.", first=self.position, last=position - 1)
        if position != self.position:
            # Without some of its leaves the tree has no roots any more.
            self._is_lost, self.position = True, position
        found = None if content is None else leaf_hash(bytes_of(content))
        if found != kept:
            if self._recorded is self._kept:
                self._recorded = self._kept.copy()
            self._differing.append((position, record_id, content is not None))
            self._links.wrong.add(record_id)
        elif content is not None:
            self._links.check(content, before, position)
        self._kept.append(kept)
        if self._recorded is not self._kept:
            self._recorded.append(found or kept)
        self.position += 1
        self._report.records += content is not None
        self._compare()

    def finish(self, newest: int) -> None:
        """Look at what no checkpoint covers, and at what one covered and is gone; the database has one at `newest`."""
        self._blame()
        if self._next is not None:
            last = max([self._next.size, *(checkpoint.size for checkpoint in self._signed)])
            kind, message = Kind.LEAF_MISSING, "Leaves that were signed are missing at the end."
            if newest == self.position:
                kind, message = Kind.LOG_ROLLED_BACK, "The log is an earlier state of the one that was signed."
            self._report.find(kind, message, first=self.position, last=last - 1)
        elif self._since < self.position:
            message = "These leaves stand behind the last checkpoint: nobody has signed them."
            self._report.find(Kind.LEAF_INSERTED, message, first=self._since, last=self.position - 1)

    def _compare(self) -> None:
        while self._next is not None and self._next.size <= self.position:
            checkpoint, self._next = self._next, next(self._signed, None)
            self._compare_with(checkpoint)
            self._since = self.position

    def _compare_with(self, checkpoint: Checkpoint) -> None:
        recorded = self._recorded is not self._kept and self._recorded.root == checkpoint.root
        if recorded and not self._is_lost:
            self._blame(leaves_are_wrong=True)
        elif self._is_lost or self._kept.root == checkpoint.root:
            self._blame()
        else:
            self._blame()
            message = "The tree is not the one that was signed: records and leaves in this range were rewritten."
            self._report.find(Kind.LOG_REWRITTEN, message, first=self._since, last=self.position - 1)
            self._is_lost = True

    def _blame(self, *, leaves_are_wrong: bool = False) -> None:
        """Report what disagreed since the last checkpoint, and go on with what was signed."""
        for position, record_id, is_there in self._differing:
            kind, message = Kind.RECORD_CHANGED, "The record is not the one that was sealed."
            if not is_there:
                kind, message = Kind.RECORD_MISSING, "A sealed record is missing."
            elif leaves_are_wrong:
                kind, message = Kind.LEAF_CHANGED, "The leaf was changed; its record is the one that was signed."
            self._report.find(kind, message, record_id=record_id, first=position, last=position)
        self._recorded = self._kept = self._recorded if leaves_are_wrong else self._kept
        self._differing = []


def bytes_of(content: dict[str, Any]) -> bytes:
    """The bytes of a record; where it holds what none can hold, bytes that no leaf is the hash of."""
    try:
        return canonical(content)
    except TypeError:
        return repr(content).encode()


def _object(content: dict[str, Any]) -> dict[str, Any]:
    return {"resource_type": content["resource_type"], "resource_id": content["resource_id"]}
