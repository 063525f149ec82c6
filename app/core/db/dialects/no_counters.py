"""The counters of a database that keeps none, for want of triggers of statements: its objects are counted each time."""

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
