"""Conflicts of a plan: what others have changed, deleted or taken since it was made."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import NotOwner
from app.core.messages import tr
from app.core.request_context import Actor
from app.imports.models import RowAction
from app.imports.plan.store import PlannedRow, PlanPart, read_parts
from app.resource import Resource, plural
from app.resource.fields import defaults_of
from app.resource.service import closed_parent_error, closed_parents, may_change, parents_in
from app.resource.uniqueness import Key, index_rules, key_of, member_rules, taken_keys

MAX_CONFLICTS = 1000
"""Conflicts that an answer lists."""

Conflict = dict[str, Any]


def version_conflicts(import_id: int) -> list[Conflict]:
    """The rows whose objects have changed or are deleted since the plan was made."""
    return _first(_stale(import_id))


def all_conflicts(import_id: int) -> list[Conflict]:
    """The rows that the database would refuse, for any reason that can be looked up."""
    return _first(_stale(import_id), _taken(import_id), _taken_members(import_id), _deleted_references(import_id))


def require_rights(import_id: int, actor: Actor) -> None:
    """Raise NotOwner, naming the rows that a plan's owner may not write any more: since demoted, or handed over."""
    conflicts = [] if actor.is_admin else _first(_forbidden(import_id, actor))
    if conflicts:
        raise NotOwner(tr("The owner of this import may not write all of it any more."), conflicts=conflicts)


def _forbidden(import_id: int, actor: Actor) -> Iterator[Conflict]:
    for part in read_parts(import_id, RowAction.CREATE, RowAction.UPDATE):
        resource = CATALOG[part.resource]
        parents = [field.name for field in resource.references.values() if field.parent]
        stored = _stored_values(part, resource, ("created_by_id", *parents))
        added = []
        for row in (row for row in part.rows if row.action in (RowAction.CREATE.value, RowAction.UPDATE.value)):
            existing = stored.get(row.object_id or 0, {})
            owner = actor.id if row.object_id is None else existing.get("created_by_id")
            if not may_change(resource, actor, owner):
                message = tr("You may not write {resource} like this one any more.", resource=plural(resource))
                yield _conflict(part, row, message)
            values = {name: _as_stored(value) for name, value in row.new.items()}
            added += [(row, each) for each in parents_in(resource, values, existing) if isinstance(each[1], int)]
        for row, parent in closed_parents(resource, actor, added):
            yield _conflict(part, row, closed_parent_error(resource, parent).message)


def _first(*conflicts: Iterator[Conflict]) -> list[Conflict]:
    return list(islice(chain(*conflicts), MAX_CONFLICTS))


def _stale(import_id: int) -> Iterator[Conflict]:
    for part in read_parts(import_id, RowAction.UPDATE, RowAction.UNCHANGED):
        table = CATALOG[part.resource].model.__table__
        planned = [row for row in part.rows if row.object_id is not None and row.action != RowAction.ERROR.value]
        statement = sa.select(table.c.id, table.c.version).where(any_of(table.c.id, [row.object_id for row in planned]))
        versions: dict[int | None, int] = dict(db.session.execute(statement).all())
        for row in planned:
            if versions.get(row.object_id) != row.version:
                message = tr("The object has been deleted since the plan was made.")
                if row.object_id in versions:
                    message = tr("The object has been changed since the plan was made.")
                yield _conflict(part, row, message)


def _taken(import_id: int) -> Iterator[Conflict]:
    """New and changed objects with a unique value that another object has taken and keeps."""
    for part in read_parts(import_id, RowAction.CREATE, RowAction.UPDATE):
        resource = CATALOG[part.resource]
        for fields, folded in index_rules(resource.model):
            stored = _stored_values(part, resource, fields)
            row_of: dict[Key, PlannedRow] = {}
            for row in part.rows:
                is_concerned = row.action == RowAction.CREATE.value or not row.new.keys().isdisjoint(fields)
                key = _key(resource, row, stored, fields, folded) if is_concerned and not row.errors else None
                if key is not None:
                    row_of[key] = row
            holders = taken_keys(resource, row_of, fields, folded)
            giving = _changing(import_id, resource, fields) if holders else set()
            for key, holder in holders.items():
                if holder != row_of[key].object_id and holder not in giving:
                    heading = resource.fields[fields[-1]].heading
                    message = tr("Another object has taken this {field} since the plan was made.", field=heading)
                    yield _conflict(part, row_of[key], message)


def _changing(import_id: int, resource: Resource, fields: Collection[str]) -> set[int | None]:
    """The objects in which the plan changes any of these fields."""
    return {
        row.object_id
        for part in read_parts(import_id, RowAction.UPDATE, resource=resource.name)
        for _, row in part.rows_with(RowAction.UPDATE)
        if not row.new.keys().isdisjoint(fields)
    }


def _taken_members(import_id: int) -> Iterator[Conflict]:
    """New and changed objects with a member, such as a port, that another object has taken."""
    for part in read_parts(import_id, RowAction.CREATE, RowAction.UPDATE):
        resource = CATALOG[part.resource]
        for rule in member_rules(resource.model):
            stored = _stored_values(part, resource, (rule.field, *rule.own))
            row_of: dict[Key, PlannedRow] = {}
            for row in part.rows:
                if row.action in (RowAction.CREATE.value, RowAction.UPDATE.value):
                    base = defaults_of(resource.model) if row.object_id is None else stored.get(row.object_id, {})
                    values = {**base, **{name: _as_stored(value) for name, value in row.new.items()}}
                    if base and not any(isinstance(values[name], dict) for name in rule.own):
                        row_of.update(dict.fromkeys(rule.keys(values), row))
            heading = resource.fields[rule.field].heading
            for key, identity in rule.taken(row_of).items():
                if identity != row_of[key].object_id:
                    member = "/".join(str(one) for one in reversed(key[len(rule.own) :]))
                    message = tr(
                        "{field}: another object has taken {member} since the plan was made.",
                        field=heading,
                        member=member,
                    )
                    yield _conflict(part, row_of[key], message)


def _stored_values(part: PlanPart, resource: Resource, names: Sequence[str]) -> dict[int, dict[str, Any]]:
    table = resource.model.__table__
    ids = [row.object_id for row in part.rows if row.object_id is not None]
    if not ids:
        return {}
    rows = db.session.execute(sa.select(table.c.id, *(table.c[name] for name in names)).where(any_of(table.c.id, ids)))
    return {identity: dict(zip(names, values, strict=True)) for identity, *values in rows}


def _as_stored(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) and "id" in value else value


def _key(
    resource: Resource, row: PlannedRow, stored: Mapping[int, Mapping[str, Any]], fields: Any, folded: Any
) -> Key | None:
    base = defaults_of(resource.model) if row.object_id is None else stored.get(row.object_id)
    if base is None:
        return None
    own = [_as_stored(row.new.get(name, base[name])) for name in fields]
    # Nothing is taken below an object that the file itself creates.
    return None if any(isinstance(value, dict) for value in own) else key_of(own, fields, folded)


def _deleted_references(import_id: int) -> Iterator[Conflict]:
    """Rows that refer to an object that has been deleted."""
    for part in read_parts(import_id, RowAction.CREATE, RowAction.UPDATE):
        for field in CATALOG[part.resource].references.values():
            assert field.target is not None
            rows_by_id: dict[int, list[PlannedRow]] = {}
            for row in part.rows:
                reference = row.new.get(field.name)
                if reference and "id" in reference and row.action != RowAction.ERROR.value:
                    rows_by_id.setdefault(reference["id"], []).append(row)
            identity = field.target.__table__.c.id
            stored = (
                set(db.session.scalars(sa.select(identity).where(any_of(identity, rows_by_id))))
                if rows_by_id
                else set()
            )
            for row in (row for object_id, rows in rows_by_id.items() if object_id not in stored for row in rows):
                yield _conflict(part, row, tr("The {what} that it refers to has been deleted.", what=field.term))


def _conflict(part: PlanPart, row: PlannedRow, message: str) -> Conflict:
    return {
        "sheet": part.sheet,
        "row": row.row,
        "resource": part.resource,
        "id": row.object_id,
        "message": message,
    }
