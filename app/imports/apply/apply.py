"""From the plan to the database: exactly what was shown, in one transaction, or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import groupby, islice
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.audit import recorder
from app.core.db.unit_of_work import db
from app.imports.models import Action, Import, ImportPart
from app.imports.plan.store import Part, PlannedRow, count_rows, note_created, read_parts
from app.resource import Resource
from app.resource.bulk import writer
from app.resource.fields import Field, Kind, default_of, from_json

parts = ImportPart.__table__

Ids = dict[int, int]
"""The id of the object that a row has created, by the row's position."""
Advance = Callable[[int], None]
"""Told how many more rows are written."""
Typers = Mapping[str, Callable[[Any], Any]]
"""What makes of a field's JSON value the one that the database takes, where they differ."""


def apply_plan(job: Import, advance: Advance) -> None:
    """Write every row of the plan that creates or changes something; the caller commits.

    Raises bulk.StaleVersion and IntegrityError where the plan is out of date; the caller rolls back.
    """
    counts = {Action.CREATE.value: 0, Action.UPDATE.value: 0}
    ids: Ids = {}
    for name in _resources(job.id):
        resource = CATALOG[name]
        typed = _typers(resource, ids)
        counts["update"] += _change(resource, job, typed, advance)
        counts["create"] += _create(resource, job, typed, ids, advance)
    changes = {name: {"old": None, "new": count} for name, count in counts.items()}
    recorder.record("import", "imports", job.id, job.filename, changes)


def _resources(import_id: int) -> list[str]:
    """The resources of the plan, each after those that it refers to."""
    statement = sa.select(parts.c.resource).where(parts.c.import_id == import_id).order_by(parts.c.first)
    return [name for name, _ in groupby(db.session.scalars(statement))]


def _create(resource: Resource, job: Import, typed: Typers, ids: Ids, advance: Advance) -> int:

    def prepare(part: Part, identities: Sequence[int]) -> writer.Creation:
        planned = list(part.doing(Action.CREATE))
        ids.update((position, identity) for (position, _), identity in zip(planned, identities, strict=True))
        columns = _columns(resource, [row.new for _, row in planned], typed)
        return writer.prepare(resource, identities, columns, job.created_by_id)

    def write(part: Part, identities: Sequence[int], creation: Future[writer.Creation]) -> None:
        writer.write(creation.result())
        note_created(part, identities)
        advance(len(identities))

    created = count_rows(job.id, resource.name, Action.CREATE)
    free = iter(writer.allocate_ids(resource, created))
    # While the database writes a part, which is most of the time, a thread makes the next one ready.
    with ThreadPoolExecutor(1, "prepare") as pool:
        before: tuple[Part, Sequence[int], Future[writer.Creation]] | None = None
        for part in read_parts(job.id, Action.CREATE, resource=resource.name):
            identities = list(islice(free, part.count(Action.CREATE)))
            following = part, identities, pool.submit(copy_context().run, prepare, part, identities)
            if before is not None:
                write(*before)
            before = following
        if before is not None:
            write(*before)
    return created


def _change(resource: Resource, job: Import, typed: Typers, advance: Advance) -> int:
    def concerned() -> Iterator[Sequence[writer.Change]]:
        for part in read_parts(job.id, Action.UPDATE, resource=resource.name):
            yield [_as_change(row, typed) for _, row in part.doing(Action.UPDATE)]

    writer.lock(resource.model, [change.object_id for changes in concerned() for change in changes])
    changed = 0
    for changes in concerned():
        writer.update(resource.model, changes)
        changed += len(changes)
        advance(len(changes))
    return changed


def _as_change(row: PlannedRow, typed: Typers) -> writer.Change:
    assert row.object_id is not None
    assert row.version is not None
    assert row.old is not None
    return writer.Change(
        object_id=row.object_id,
        version=row.version,
        name=row.name or "",
        old={name: row.old[name] for name in row.new},
        new=_typed(row.new, typed),
    )


def _typers(resource: Resource, ids: Ids) -> Typers:
    def referred(reference: dict[str, Any]) -> int:
        return ids[reference["row"]] if "row" in reference else reference["id"]

    def typer_of(field: Field) -> Callable[[Any], Any]:
        return lambda value: from_json(field.kind, field, value)

    typed: dict[str, Callable[[Any], Any]] = {}
    for name, field in resource.fields.items():
        if field.kind is Kind.REFERENCE:
            typed[name] = referred
        elif field.kind is Kind.CHOICE:
            assert field.choices is not None
            typed[name] = {member.value: member for member in field.choices}.__getitem__
        elif field.kind in (Kind.DATE, Kind.TIME, Kind.MONEY):
            typed[name] = typer_of(field)
    return typed


def _columns(resource: Resource, rows: Sequence[Mapping[str, Any]], typed: Typers) -> dict[str, Sequence[Any]]:
    """The values of each column that one of the rows fills, as the database takes them."""
    columns: dict[str, Sequence[Any]] = {}
    for name in set[str]().union(*rows):
        default, typer = default_of(resource.fields[name].column), typed.get(name)
        if typer is None:
            columns[name] = [row.get(name, default) for row in rows]
        else:
            columns[name] = [
                default if name not in row else None if row[name] is None else typer(row[name]) for row in rows
            ]
    return columns


def _typed(values: Mapping[str, Any], typed: Typers) -> dict[str, Any]:
    return {
        name: typed[name](value) if name in typed and value is not None else value for name, value in values.items()
    }
