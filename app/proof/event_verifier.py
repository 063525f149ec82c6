"""Verification of the chains of events: their order, their lengths, and the newest events that were noted outside."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.audit.event_chains import Head
from app.core.audit.models import STORED, AuditEventChain
from app.proof.report import FindingKind, Report

_CHAINS = AuditEventChain.__table__.c


class PreviousRecord(NamedTuple):
    """The record over whose MAC the MAC of the next one is computed."""

    record_id: int | None
    mac: str | None


_NONE = PreviousRecord(None, None)


class EventVerifier:
    """Follows each chain while the records are read in the order of sealing, which is also that of every chain."""

    def __init__(self, report: Report, connection: sa.Connection) -> None:
        self._report = report
        self._connection = connection
        self._last: dict[int, tuple[int, PreviousRecord]] = {}

    def previous(self, content: dict[str, Any]) -> PreviousRecord:
        """The event before this one in its chain."""
        chain, number = content["event_chain"], content["event_number"]
        if chain is None or number is None:
            return _NONE
        last_number, last = self._last.get(chain, (0, _NONE))
        if number > last_number:
            self._last[chain] = number, PreviousRecord(content["id"], content["mac"])
        # Looked up for the first event of a verification that does not begin with the log, and after a forgery.
        return last if number == last_number + 1 else self._find(chain, number - 1)

    def finish(self, heads: Sequence[Head]) -> None:
        """Compare the chains with their lengths, and with the heads that were noted outside."""
        lengths = dict(map(tuple, self._connection.execute(sa.select(_CHAINS.id, _CHAINS.length))))
        for chain in sorted(lengths.keys() | self._last.keys()):
            self._compare_length(chain, lengths.get(chain))
        for head in heads:
            if head.number <= lengths.get(head.chain, 0) and self._newest(head.chain) < head.number:
                continue  # Reported above.
            mac = self._find(head.chain, head.number).mac
            if mac is None:
                message = f"Event {head.number} of chain {head.chain} is noted outside and has no record."
                self._report.add(FindingKind.RECORD_MISSING, message)
            elif mac != head.mac:
                message = f"Event {head.number} of chain {head.chain} is not the one that is noted outside."
                self._report.add(FindingKind.RECORD_CHANGED, message)

    def _compare_length(self, chain: int, length: int | None) -> None:
        newest = self._newest(chain)
        if length is not None and newest < length:
            message = f"Events {newest + 1} to {length} of chain {chain} have no records."
            self._report.add(FindingKind.RECORD_MISSING, message)
        elif newest != length:
            message = f"The length of the chain of events {chain} was changed."
            self._report.add(FindingKind.LOG_REWRITTEN, message)

    def _newest(self, chain: int) -> int:
        newest = sa.select(sa.func.max(STORED.c.event_number)).where(STORED.c.event_chain == chain)
        return self._connection.scalar(newest) or 0

    def _find(self, chain: int, number: int) -> PreviousRecord:
        position = STORED.c.event_chain == chain, STORED.c.event_number == number
        statement = sa.select(STORED.c.id, STORED.c.mac).where(*position).order_by(STORED.c.id).limit(1)
        row = self._connection.execute(statement).one_or_none()
        return _NONE if row is None else PreviousRecord(*row)
