"""The catalogue of errors: every reason that an answer can have, from the classes of all errors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import ApiError
from app.core.messages import localize


@dataclass(slots=True)
class ErrorReason:
    """The statuses that a reason comes with, and the sentence of most answers with it."""

    message: str
    statuses: set[int] = field(default_factory=set)


def catalog() -> dict[str, ErrorReason]:
    """Every reason of the application, in alphabetical order."""
    entries: dict[str, ErrorReason] = {}
    for kind in _kinds(ApiError):
        for reason in (kind.reason, *kind.other_reasons):
            entries.setdefault(reason, ErrorReason(kind.message)).statuses.add(kind.status)
    return dict(sorted(entries.items()))


def document_reasons(components: Mapping[str, Any], failures: Mapping[int, str]) -> None:
    """Add the enumeration of all reasons, and to the failure of each status those that come with it."""
    entries = catalog()
    components["schemas"]["Reason"] = {"type": "string", "enum": list(entries)}
    reason = components["schemas"]["FailureDetails"]["properties"]["reason"]
    del reason["type"]
    reason["$ref"] = "#/components/schemas/Reason"
    for status, name in failures.items():
        reasons = [reason for reason, entry in entries.items() if status in entry.statuses]
        components["responses"][name]["x-reasons"] = reasons


def _kinds(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    """A class of errors and all that derive from it; those of tests are not of the application."""
    if kind.__module__.startswith("app."):
        yield kind
    for derived in kind.__subclasses__():
        yield from _kinds(derived)


def as_page() -> str:
    """The page of the documentation that lists the catalogue."""
    return _HEAD + "".join(_row(reason, entry) for reason, entry in catalog().items())


def _row(reason: str, entry: ErrorReason) -> str:
    statuses = ", ".join(map(str, sorted(entry.statuses)))
    return f"| `{reason}` | {statuses} | {entry.message} | {localize(entry.message, 'zh')} |\n"


_HEAD = """# Errors

`data.reason` of an answer that is not a success is one of these, and the enumeration `Reason` of the OpenAPI document.
A sentence may say more in the answer itself: which field, which object, which limit. `flask openapi` writes this page.

| reason | status | English | 中文 |
|---|---|---|---|
"""
