"""Apply a plan: write exactly what was shown in one transaction, or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import orjson
import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit import recorder
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db, reading, writing
from app.imports.models import Import, ImportPart, ImportPhase, Progress, RowAction
from app.imports.plan.store import PlannedRow, read_parts, store_created_ids
from app.resource import Field, Kind, Resource
from app.resource.bulk import writer
from app.resource.bulk.write_order import WriteOrder
from app.resource.fields import from_json

parts = ImportPart.__table__

CreatedIds = dict[int, int]
"""The ids of created objects by the positions of their rows."""
Advance = Callable[[int], None]
"""Called with the number of rows after each batch."""
Converters = Mapping[str, Callable[[Any], Any]]
"""By field: converts its JSON value to the database's, where they differ."""


class _Batch(NamedTuple):
    """The new objects of a part of the plan; `first` is the position of the part's first row."""

    first: int
    ids: Sequence[int]
    creations: writer.Creations


@dataclass
class PreparedCreations:
    """The new objects of a plan in a file, as the driver takes them, with their ids."""

    _file: BinaryIO
    ids: CreatedIds = dataclass_field(default_factory=dict)
    _batches: dict[str, list[tuple[_Batch, int]]] = dataclass_field(default_factory=dict)

    def add(self, resource: str, batch: _Batch) -> None:
        objects, records = batch.creations
        content = orjson.dumps([list(objects.rows), list(records.rows)])
        self._file.write(content)
        without_rows = writer.Creations(objects._replace(rows=()), records._replace(rows=()))
        self._batches.setdefault(resource, []).append((batch._replace(creations=without_rows), len(content)))

    def batches(self) -> Iterator[tuple[str, Iterator[_Batch]]]:
        """The batches of each resource, in the order in which they were added; any number of times."""
        self._file.seek(0)
        for resource, batches in self._batches.items():
            yield resource, map(self._read, batches)

    def _read(self, batch_and_size: tuple[_Batch, int]) -> _Batch:
        batch, size = batch_and_size
        rows, records = orjson.loads(self._file.read(size))
        objects, of_log = batch.creations
        return batch._replace(creations=writer.Creations(objects._replace(rows=rows), of_log._replace(rows=records)))


@contextmanager
def prepared_creations(import_id: int, created_by_id: int | None) -> Iterator[PreparedCreations | None]:
    """Convert the new objects of a plan before the transaction that writes them; None where that may as well convert.

    Nobody else can write on SQLite while an import does: a quarter less of that time. A context manager; raises
    Stopped where the import has been cancelled.
    """
    if current_dialect().statements.HAS_ROW_LOCKS:
        yield None
        return
    with reading():
        counts = [(CATALOG[name], count) for name, _, count in _resources(import_id) if count]
    progress = Progress(import_id, ImportPhase.PREPARING, sum(count for _, count in counts))
    with TemporaryFile(prefix="creations-") as file:
        prepared = PreparedCreations(file)
        for resource, count in counts:
            with writing():
                free = writer.allocate_ids(resource, count)
            with reading():
                for batch in _creations(resource, free, import_id, created_by_id, prepared.ids):
                    prepared.add(resource.name, batch)
                    progress.advance(len(batch.ids))
        yield prepared


def apply_plan(import_: Import, prepared: PreparedCreations | None, advance: Advance) -> None:
    """Write every row of the plan that creates or changes an object; the caller commits.

    Raises writer.StaleVersion and IntegrityError where the plan is out of date; the caller rolls back.
    """
    created = updated = 0
    ids: CreatedIds = prepared.ids if prepared else {}
    of_resource = dict(prepared.batches()) if prepared else {}
    for name, updates, creations in _resources(import_.id):
        resource = CATALOG[name]
        # Updates come first: what they give up, such as a name, is free for new objects.
        if updates:
            _update(resource, import_, ids, advance)
        if prepared:
            batches = of_resource.get(name, iter(()))
        else:
            free = writer.allocate_ids(resource, creations)
            batches = _creations(resource, free, import_.id, import_.created_by_id, ids)
        for batch in batches:
            writer.write_creations(batch.creations)
            store_created_ids(import_.id, batch.first, batch.ids)
            advance(len(batch.ids))
        updated += updates
        created += creations
    changes = {"create": {"old": None, "new": created}, "update": {"old": None, "new": updated}}
    recorder.record("import", "imports", import_.id, import_.filename, changes)


def _resources(import_id: int) -> list[tuple[str, int, int]]:
    """The resources of the plan, each after those that it refers to, with the numbers of updates and creations."""
    counts = [sa.func.sum(parts.c[action.value]) for action in (RowAction.UPDATE, RowAction.CREATE)]
    statement = sa.select(parts.c.resource, *counts).where(parts.c.import_id == import_id)
    rows = db.session.execute(statement.group_by(parts.c.resource).order_by(sa.func.min(parts.c.first)))
    return [(name, int(updates), int(creations)) for name, updates, creations in rows]


def _creations(
    resource: Resource, free: Sequence[int], import_id: int, created_by_id: int | None, ids: CreatedIds
) -> Iterator[_Batch]:
    """The new objects of a resource, with the free ids in their order; `ids` gets those of each batch."""
    converters = _converters(resource, ids)
    rest = iter(free)
    for part in read_parts(import_id, RowAction.CREATE, resource=resource.name):
        positions, rows = zip(*part.rows_with(RowAction.CREATE), strict=True)
        new_ids = list(islice(rest, len(rows)))
        ids.update(zip(positions, new_ids, strict=True))
        objects = [_converted(row.new, converters) for row in rows]
        yield _Batch(part.first, new_ids, writer.bind_creations(resource, new_ids, objects, created_by_id))


def _update(resource: Resource, import_: Import, ids: CreatedIds, advance: Advance) -> None:
    converters = _converters(resource, ids)
    order = WriteOrder(resource.model)
    object_ids: list[int] = []
    unique: dict[int, Mapping[str, Any]] = {}
    for row in _updates(import_, resource):
        assert row.object_id is not None
        object_ids.append(row.object_id)
        if order.concerns(row.new):
            unique[row.object_id] = _converted(row.new, converters)
    # All objects are locked in the order of their ids before the first one changes, so that imports of the same
    # objects wait for each other and do not deadlock.
    writer.lock(resource.model, object_ids)
    order.add(unique)
    # What they take is given up by other rows, of whatever part.
    takers, late = order.takers(), []
    for part in read_parts(import_.id, RowAction.UPDATE, resource=resource.name):
        changes = [_as_change(row, converters) for _, row in part.rows_with(RowAction.UPDATE)]
        writer.update(resource.model, [change for change in changes if change.object_id not in takers])
        late += [change for change in changes if change.object_id in takers]
        advance(len(changes))
    writer.update(resource.model, late)


def _updates(import_: Import, resource: Resource) -> Iterator[PlannedRow]:
    for part in read_parts(import_.id, RowAction.UPDATE, resource=resource.name):
        yield from (row for _, row in part.rows_with(RowAction.UPDATE))


def _as_change(row: PlannedRow, converters: Converters) -> writer.Change:
    assert row.object_id is not None
    assert row.version is not None
    assert row.old is not None
    return writer.Change(
        object_id=row.object_id,
        version=row.version,
        name=row.name or "",
        old={name: row.old[name] for name in row.new},
        new=_converted(row.new, converters),
    )


def _converters(resource: Resource, ids: CreatedIds) -> Converters:
    def object_id(reference: dict[str, Any]) -> int:
        return ids[reference["row"]] if "row" in reference else reference["id"]

    def from_json_of(field: Field) -> Callable[[Any], Any]:
        return lambda value: from_json(field.kind, field, value)

    converters: dict[str, Callable[[Any], Any]] = {}
    for name, field in resource.fields.items():
        if field.kind is Kind.REFERENCE:
            converters[name] = object_id
        elif field.kind is Kind.CHOICE:
            # A dict of the members costs a third of calling the enumeration, for each row.
            assert field.choices is not None
            converters[name] = {member.value: member for member in field.choices}.__getitem__
        elif field.kind in (Kind.DATE, Kind.TIME, Kind.MONEY):
            converters[name] = from_json_of(field)
    return converters


def _converted(values: Mapping[str, Any], converters: Converters) -> dict[str, Any]:
    return {
        name: converters[name](value) if name in converters and value is not None else value
        for name, value in values.items()
    }
