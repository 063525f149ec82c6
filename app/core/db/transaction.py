"""The state of a transaction of the unit of work."""

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.core.db.dialects.protocol import Access

Place = tuple[str, int, int]
"""The resource type, resource id and version of an audit record."""
Calls = dict[Callable[[Collection[Any]], object], dict[Hashable, None]]
"""Functions to be called once, each with all items that were registered for it, in their order and without doubles."""


class Question(Protocol):
    """A query, and what takes its rows; see app.core.db.prepared."""

    def answer(self, rows: Any = None, /) -> object: ...


@dataclass(slots=True)
class Transaction:
    """The state of one block of a transaction: its purpose, and what it has done so far."""

    access: Access = "write"
    action: str = "update"
    """What audit records call a change of an object; `audited` names it."""
    outer: "Transaction | None" = None
    """The state that the block began in; none outside of all blocks, where the session works as SQLAlchemy's does."""
    is_dry_run: bool = False
    changed_at: datetime | None = None
    changed_tables: set[str] = field(default_factory=set)
    known_macs: dict[Place, str] = field(default_factory=dict)
    """MACs of audit records that were read together with their objects."""
    known_generations: dict[str, str] = field(default_factory=dict)
    """Generations of tables that this block of a request has read from the cache; see `cache/generations.py`."""
    after_commit: Calls = field(default_factory=dict)
    after_rollback: Calls = field(default_factory=dict)
