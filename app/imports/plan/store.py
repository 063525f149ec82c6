"""Store and read the plan: exactly what is shown, and exactly what is applied.

It is written into a temporary file before the transaction that stores it. To write the rows of a large file as JSON
takes seconds, during which nobody else could write on SQLite. In a file, the JSON takes no memory beside the rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import orjson
import sqlalchemy as sa

from app.core.db.statements import BATCH_ROWS
from app.core.db.unit_of_work import db
from app.core.messages import Message, pack, unpack
from app.core.values import json_text
from app.imports.map.table import Table
from app.imports.models import ImportPart, RowAction
from app.imports.parse.rows import ParsedRow, ParsedTable, RowMessage
from app.resource import Kind

parts = ImportPart.__table__


class PlannedRow(NamedTuple):
    """What the plan does with one row of the file.

    `new` and `old` hold the values of the fields that change as JSON has them. A reference in `new` is
    {"id", "name"}, or {"row": <position>, "name"} where an earlier row of the file creates the object. The messages of
    errors and warnings are in no language yet; `more_warnings` is the number of warnings that are only counted.
    """

    row: int
    action: str
    object_id: int | None
    version: int | None
    name: str | None
    new: dict[str, Any]
    old: dict[str, Any] | None
    errors: Sequence[RowMessage]
    warnings: Sequence[RowMessage]
    more_warnings: int

    def has_warnings(self) -> bool:
        return bool(self.warnings or self.more_warnings)


@dataclass(frozen=True)
class PlanPart:
    """Successive rows of a sheet; `first` is the position of the first one among all rows of the import."""

    import_id: int
    first: int
    sheet: str
    resource: str
    created_ids: list[int] | None
    _json: str = field(repr=False)

    @cached_property
    def rows(self) -> list[PlannedRow]:
        return [PlannedRow(*row) for row in orjson.loads(self._json)]

    def rows_with(self, action: RowAction) -> Iterator[tuple[int, PlannedRow]]:
        """Its rows with this action, each with its position."""
        return ((position, row) for position, row in enumerate(self.rows, self.first) if row.action == action.value)


class _WrittenPart(NamedTuple):
    """The columns of a part but its rows, and the number of their bytes in the file."""

    columns: dict[str, Any]
    size: int


class WrittenPlan:
    """The parts of a plan in their order, with their rows in a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[_WrittenPart] = []

    def write(self, columns: dict[str, Any], rows: str) -> None:
        content = rows.encode()
        self._file.write(content)
        self._parts.append(_WrittenPart(columns, len(content)))

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
    new = {} if row.action is RowAction.UNCHANGED else _changes(row, references)
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


def _changes(row: ParsedRow, references: Sequence[str]) -> dict[str, Any]:
    """The fields that a row sets: all that it fills of a new object, those that differ of an existing one."""
    new = dict(row.values) if row.existing is None else {name: row.values[name] for name in row.old}
    for name in references:
        value = new.get(name)
        if value is not None:
            new[name] = _reference(value, row.reference_names.get(name))
    return new


def _reference(value: Any, name: str | None) -> dict[str, Any]:
    if isinstance(value, ParsedRow):
        # A missing object that only rows with errors refer to is not created, and has no position.
        return {"row": value.position, "name": name} if value.position else {"name": name}
    return {"id": value, "name": name} if isinstance(value, int) else {"name": name}


def packed(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Errors, warnings or notes as JSON keeps them, in no language."""
    return [{**entry, "message": pack(entry["message"])} for entry in entries]


def explained(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `packed` has made as the API shows it: each with its message and the parameters in it."""
    messages = ((entry, _message(entry["message"])) for entry in entries)
    return [{**entry, "message": message, "parameters": message.parameters} for entry, message in messages]


def _message(stored: Any) -> Message:
    message = unpack(stored)
    return message if isinstance(message, Message) else Message(message)


def store_plan(import_id: int, plan: WrittenPlan) -> None:
    """Store a plan in place of an earlier one, in the current transaction."""
    delete_plan(import_id)
    for values in plan.parts():
        db.session.execute(sa.insert(parts).inline(), {"import_id": import_id, **values})


def delete_plan(import_id: int) -> None:
    db.session.execute(sa.delete(parts).where(parts.c.import_id == import_id))


def read_parts(
    import_id: int,
    *actions: RowAction,
    resource: str | None = None,
    sheet: str | None = None,
    backwards: bool = False,
) -> Iterator[PlanPart]:
    """The parts that have rows with any of these actions, in their order, one at a time.

    Each refers only to those before it; `backwards`, each is referred to only by those before it.
    """
    conditions = [parts.c.import_id == import_id, sa.or_(*(parts.c[action.value] > 0 for action in actions))]
    if resource is not None:
        conditions.append(parts.c.resource == resource)
    if sheet is not None:
        conditions.append(parts.c.sheet == sheet[:255])
    order = parts.c.first.desc() if backwards else parts.c.first
    for first in db.session.scalars(sa.select(parts.c.first).where(*conditions).order_by(order)).all():
        part = find_part(import_id, first)
        assert part is not None
        yield part


def store_created_ids(import_id: int, first: int, ids: Sequence[int]) -> None:
    """Keep the ids of the objects that the rows of a part have created; `first` is the position of its first row."""
    statement = sa.update(parts).where(parts.c.import_id == import_id, parts.c.first == first)
    db.session.execute(statement.values(created_ids=list(ids)))


def find_part(import_id: int, first: int) -> PlanPart | None:
    """A part of a plan; None if a correction has deleted the plan since its parts were listed."""
    statement = sa.select(parts).where(parts.c.import_id == import_id, parts.c.first == first)
    part = db.session.execute(statement).one_or_none()
    if part is None:
        return None
    return PlanPart(import_id, first, part.sheet, part.resource, part.created_ids, part.rows)
