"""Write a plan as it is stored into a temporary file, before the transaction that stores it.

To write the rows of a large file as JSON takes seconds, during which nobody else could write on SQLite. In a file, the
JSON takes no memory beside the rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

from app.core.db.statements import BATCH_ROWS
from app.core.messages import pack
from app.core.values import json_text
from app.imports.map.table import Table
from app.imports.models import RowAction
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.resource import Kind


class _Part(NamedTuple):
    """The columns of a part but its rows, and the number of their bytes in the file."""

    columns: dict[str, Any]
    size: int


class WrittenPlan:
    """The parts of a plan in their order, with their rows in a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[_Part] = []

    def write(self, columns: dict[str, Any], rows: str) -> None:
        content = rows.encode()
        self._file.write(content)
        self._parts.append(_Part(columns, len(content)))

    def parts(self) -> Iterator[dict[str, Any]]:
        """The columns of each part, without its import; any number of times."""
        self._file.seek(0)
        for part in self._parts:
            yield {**part.columns, "rows": self._file.read(part.size).decode()}


@contextmanager
def written_plan(tables: Sequence[ParsedTable], advance: Callable[[int], None]) -> Iterator[WrittenPlan]:
    """Write the planned rows, numbered so that objects come before what refers to them. A context manager.

    `advance` is called with the number of rows of each part.
    """
    for position, row in enumerate(chain.from_iterable(parsed.rows for parsed in tables), 1):
        row.position = position
    with TemporaryFile(prefix="plan-") as file:
        plan = WrittenPlan(file)
        for parsed in tables:
            for start in range(0, len(parsed.rows), BATCH_ROWS):
                rows = parsed.rows[start : start + BATCH_ROWS]
                _write_part(plan, parsed.table, rows)
                advance(len(rows))
        yield plan


def packed(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Errors, warnings or notes as JSON keeps them, in no language."""
    return [{**entry, "message": pack(entry["message"])} for entry in entries]


def _write_part(plan: WrittenPlan, table: Table, rows: Sequence[ParsedRow]) -> None:
    references = [name for name, item in table.resource.fields.items() if item.kind is Kind.REFERENCE]
    counts = Counter(row.action for row in rows)
    columns = {
        "first": rows[0].position,
        "sheet": table.sheet.name[:255],
        "resource": table.resource.name,
        **{action.value: counts[action] for action in RowAction},
        "warned": sum(1 for row in rows if row.warnings or row.more_warnings),
    }
    plan.write(columns, json_text([_planned(row, references) for row in rows]))


def _planned(row: ParsedRow, references: Sequence[str]) -> tuple[Any, ...]:
    """The values of a PlannedRow; a plain tuple, because 100,000 of them are made only to be serialised."""
    existing = row.existing
    new = {} if row.action is RowAction.UNCHANGED else _changes(row)
    for name in references:
        value = new.get(name)
        if value is not None:
            new[name] = _reference(value, row.reference_names.get(name))
    label = row.values.get(row.table.resource.model.label)
    return (
        row.number,
        row.action.value,
        None if existing is None else existing["id"],
        None if existing is None else existing["version"],
        None if label is None else str(label)[:255],
        new,
        dict(row.old) if row.old and row.action is not RowAction.ERROR else None,
        packed(row.errors) if row.errors else (),
        packed(row.warnings) if row.warnings else (),
        row.more_warnings,
    )


def _changes(row: ParsedRow) -> dict[str, Any]:
    """The fields that a row sets: all that it fills of a new object, those that differ of an existing one."""
    return dict(row.values) if row.existing is None else {name: row.values[name] for name in row.old}


def _reference(value: Any, name: str | None) -> dict[str, Any]:
    if isinstance(value, ParsedRow):
        # A missing object that only rows with errors refer to is not created, and has no position.
        return {"row": value.position, "name": name} if value.position else {"name": name}
    return {"id": value, "name": name} if isinstance(value, int) else {"name": name}
