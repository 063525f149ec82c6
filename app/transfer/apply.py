"""From the plan to the database: exactly what was shown, in one transaction, or nothing."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core import audit
from app.core.database import db, unique_fields
from app.resource import Resource, bulk
from app.resource.fields import Field, Kind
from app.transfer.models import Action, Import, ImportRow
from app.transfer.plan import key_in, taken_keys

rows = ImportRow.__table__

MAX_CONFLICTS = 1000
"""Rows that an answer names; their number is exact."""


class OutOfDate(Exception):
    """Somebody changed what the plan was made of; `conflicts` names the rows."""

    def __init__(self, conflicts: list[dict[str, Any]]) -> None:
        super().__init__("The plan is out of date.")
        self.conflicts = conflicts


def apply_plan(job: Import) -> dict[str, int]:
    """Write every row of the plan that creates or changes something; answers how many did which.

    Raises OutOfDate, naming the rows; the caller rolls back.
    """
    counts = {Action.CREATE.value: 0, Action.UPDATE.value: 0}
    ids: dict[int, int] = {}
    for name, group in groupby(_effective_rows(job.id), key=lambda row: row.resource):
        resource = CATALOG[name]
        of_resource = list(group)
        creations = [row for row in of_resource if row.action is Action.CREATE]
        changes = [row for row in of_resource if row.action is Action.UPDATE]
        _change(resource, changes, ids)
        _create(resource, creations, ids, job)
        counts["create"] += len(creations)
        counts["update"] += len(changes)
    changes_made = {name: {"old": None, "new": count} for name, count in counts.items()}
    audit.record("import", "imports", job.id, job.filename, changes_made)
    return counts


def changed_since(job: Import) -> list[dict[str, Any]]:
    """The rows whose objects have changed or gone since the plan was made, at most MAX_CONFLICTS of them."""
    stale: list[dict[str, Any]] = []
    for name, resource in CATALOG.items():
        table = resource.model.__table__
        statement = (
            sa.select(rows.c.sheet, rows.c.row, rows.c.object_id, rows.c.version, table.c.version.label("now"))
            .select_from(rows.outerjoin(table, table.c.id == rows.c.object_id))
            .where(
                rows.c.import_id == job.id,
                rows.c.action.in_((Action.UPDATE, Action.UNCHANGED)),
                rows.c.resource == name,
                table.c.version.is_distinct_from(rows.c.version),
            )
            .order_by(rows.c.position)
            .limit(MAX_CONFLICTS)
        )
        for row in db.session.execute(statement):
            what = "is gone" if row.now is None else "has changed"
            stale.append(_conflict(row, name, f"The object {what} since the plan was made."))
    return stale[:MAX_CONFLICTS]


def _effective_rows(import_id: int) -> Iterator[Any]:
    statement = (
        sa.select(
            rows.c.position, rows.c.sheet, rows.c.row, rows.c.resource, rows.c.action,
            rows.c.object_id, rows.c.version, rows.c.name, rows.c.new, rows.c.old,
        )
        .where(rows.c.import_id == import_id, rows.c.action.in_((Action.CREATE, Action.UPDATE)))
        .order_by(rows.c.position)
    )  # fmt: skip
    return iter(db.session.execute(statement))


def _create(resource: Resource, planned: list[Any], ids: dict[int, int], job: Import) -> None:
    if not planned:
        return
    objects = [_values(resource, row, ids) for row in planned]
    _refuse_taken(resource, planned, objects)
    identities = bulk.allocate_ids(resource, len(planned))
    bulk.insert(resource, identities, objects, job.created_by_id)
    ids.update((row.position, identity) for row, identity in zip(planned, identities, strict=True))


def _change(resource: Resource, planned: list[Any], ids: dict[int, int]) -> None:
    if not planned:
        return
    changes = [
        bulk.Change(
            object_id=row.object_id,
            version=row.version,
            name=row.name or "",
            old={name: row.old[name] for name in row.new},
            new=_values(resource, row, ids),
        )
        for row in planned
    ]
    bulk.update(resource, changes)


def _refuse_taken(resource: Resource, planned: list[Any], objects: list[dict[str, Any]]) -> None:
    """Name the rows whose name or number somebody took since the plan was made."""
    nothing = dict.fromkeys(column.key for column in resource.model.__table__.columns)
    conflicts = []
    for fields, folded in unique_fields(resource.model.__table__):
        wanted = {}
        for row, values in zip(planned, objects, strict=True):
            key = key_in({**nothing, **values}, fields, folded)
            if key is not None:
                wanted[key] = row
        for key in taken_keys(resource, wanted, fields, folded) if wanted else ():
            title = resource.fields[fields[-1]].title
            message = f"Another object has taken this {title} since the plan was made."
            conflicts.append(_conflict(wanted[key], resource.name, message))
    if conflicts:
        raise OutOfDate(conflicts[:MAX_CONFLICTS])


def _conflict(row: Any, resource: str, message: str) -> dict[str, Any]:
    return {"sheet": row.sheet, "row": row.row, "resource": resource, "id": row.object_id, "message": message}


def _values(resource: Resource, row: Any, ids: dict[int, int]) -> dict[str, Any]:
    return {
        name: _typed(resource.fields[name], value, ids) if value is not None else None
        for name, value in row.new.items()
    }


def _typed(field: Field, value: Any, ids: dict[int, int]) -> Any:
    """A value of the plan's JSON as the database takes it."""
    if field.kind is Kind.REFERENCE:
        return ids[value["row"]] if "row" in value else value["id"]
    if field.kind is Kind.CHOICE:
        assert field.choices is not None
        return field.choices(value)
    if field.kind is Kind.DATE:
        return date.fromisoformat(value)
    if field.kind is Kind.MONEY:
        return Decimal(value)
    if field.kind is Kind.TIME:
        return datetime.fromisoformat(value)
    return value
