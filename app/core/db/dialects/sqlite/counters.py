"""SQLite keeps no counters: it has no triggers of statements, and its estates are counted in time."""

from collections.abc import Iterator

from app.core.db.counters.declaration import Counted

ARE_KEPT = False


def triggers(_counted: Counted) -> Iterator[str]:
    """Nothing."""
    yield from ()


def removal(_counted: Counted) -> Iterator[str]:
    """Nothing."""
    yield from ()


def rebuilding(_counted: Counted) -> Iterator[str]:
    """Nothing."""
    yield from ()


def differences(_counted: Counted) -> str | None:
    """None, as there are no counters."""


def folding() -> str | None:
    """None, as there are no counters."""
