"""The catalogue of errors: every reason that an answer can have, from the classes of all errors."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from app.core.errors import ApiError


@dataclass(slots=True)
class Entry:
    """The statuses that a reason comes with, and the sentence of most answers with it."""

    message: str
    statuses: set[int] = field(default_factory=set)


def catalog() -> dict[str, Entry]:
    """Every reason of the application, in alphabetical order."""
    entries: dict[str, Entry] = {}
    for kind in _kinds(ApiError):
        for reason in (kind.reason, *kind.other_reasons):
            entries.setdefault(reason, Entry(kind.message)).statuses.add(kind.status)
    return dict(sorted(entries.items()))


def reasons_of(status: int) -> list[str]:
    return [reason for reason, entry in catalog().items() if status in entry.statuses]


def _kinds(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    """A class of errors and all that derive from it; those of tests are not of the application."""
    if kind.__module__.startswith("app."):
        yield kind
    for derived in kind.__subclasses__():
        yield from _kinds(derived)


def as_page() -> str:
    """The page of the documentation that lists the catalogue."""
    rows = (
        f"| `{reason}` | {', '.join(map(str, sorted(entry.statuses)))} | {entry.message} |\n"
        for reason, entry in catalog().items()
    )
    return _HEAD + "".join(rows)


_HEAD = """# Errors

`data.reason` of an answer that is not a success is one of these, and the enumeration `Reason` of the OpenAPI document.
A sentence may say more in the answer itself: which field, which object, which limit. `flask openapi` writes this page.

| reason | status | message |
|---|---|---|
"""
