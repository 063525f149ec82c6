"""Why a plan cannot be applied any more: what somebody changed, removed or took since it was made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.catalog import CATALOG
from app.core.db.models import unique_fields
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.imports.models import Action
from app.imports.plan.store import Part, PlannedRow, read_parts
from app.imports.plan.uniqueness import defaults_of
from app.resource import Resource
from app.resource.uniqueness import Key, key_of, member_rules, taken_keys

MAX_CONFLICTS = 1000
"""Rows that an answer names."""

Conflict = dict[str, Any]


def changed_since(import_id: int) -> list[Conflict]:
    """The rows whose objects have changed or gone since the plan was made."""
    return _first(_changed(import_id))


def all_conflicts(import_id: int) -> list[Conflict]:
    """The rows that the database would refuse, whatever the reason."""
    return _first(_changed(import_id), _taken(import_id), _taken_members(import_id), _gone(import_id))


def _first(*found: Iterator[Conflict]) -> list[Conflict]:
    listed: list[Conflict] = []
    for conflicts in found:
        for conflict in conflicts:
            if len(listed) == MAX_CONFLICTS:
                return listed
            listed.append(conflict)
    return listed


def _changed(import_id: int) -> Iterator[Conflict]:
    for part in read_parts(import_id, Action.UPDATE, Action.UNCHANGED):
        table = CATALOG[part.resource].model.__table__
        planned = [row for row in part.rows if row.object_id is not None and row.action != Action.ERROR.value]
        statement = sa.select(table.c.id, table.c.version).where(any_of(table.c.id, [row.object_id for row in planned]))
        now: dict[int | None, int] = dict(db.session.execute(statement).all())
        for row in planned:
            if now.get(row.object_id) != row.version:
                what = "has changed" if row.object_id in now else "is gone"
                yield _conflict(part, row, f"The object {what} since the plan was made.")


def _taken(import_id: int) -> Iterator[Conflict]:
    """New objects whose name, number or address is somebody else's by now."""
    for part in read_parts(import_id, Action.CREATE):
        resource = CATALOG[part.resource]
        planned = [row for _, row in part.doing(Action.CREATE)]
        for fields, folded in unique_fields(resource.model.__table__):
            wanted = {_key(resource, row.new, fields, folded): row for row in planned}
            wanted.pop(None, None)
            keys = [key for key in wanted if key is not None]
            for key in taken_keys(resource, keys, fields, folded):
                title = resource.fields[fields[-1]].title
                message = f"Another object has taken this {title} since the plan was made."
                yield _conflict(part, wanted[key], message)


def _taken_members(import_id: int) -> Iterator[Conflict]:
    """New and changed objects of which a member, such as a port, is somebody else's by now."""
    for part in read_parts(import_id, Action.CREATE, Action.UPDATE):
        resource = CATALOG[part.resource]
        for rule in member_rules(resource.model):
            stored = _stored_values(part, resource, (rule.field, *rule.own))
            wanted: dict[Key, PlannedRow] = {}
            for row in part.rows:
                if row.action in (Action.CREATE.value, Action.UPDATE.value):
                    base = defaults_of(resource.model) if row.object_id is None else stored.get(row.object_id, {})
                    values = {**base, **{name: _as_stored(value) for name, value in row.new.items()}}
                    if base and not any(isinstance(values[name], dict) for name in rule.own):
                        wanted.update(dict.fromkeys(rule.keys(values), row))
            title = resource.fields[rule.field].title
            for key, identity in rule.taken(wanted).items():
                if identity != wanted[key].object_id:
                    said = "/".join(str(one) for one in reversed(key[len(rule.own) :]))
                    message = f"Another object has taken {said} of its {title} since the plan was made."
                    yield _conflict(part, wanted[key], message)


def _stored_values(part: Part, resource: Resource, names: Sequence[str]) -> dict[int, dict[str, Any]]:
    table = resource.model.__table__
    ids = [row.object_id for row in part.rows if row.object_id is not None]
    if not ids:
        return {}
    rows = db.session.execute(sa.select(table.c.id, *(table.c[name] for name in names)).where(any_of(table.c.id, ids)))
    return {identity: dict(zip(names, values, strict=True)) for identity, *values in rows}


def _as_stored(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) and "id" in value else value


def _key(resource: Resource, new: Mapping[str, Any], fields: Any, folded: Any) -> Key | None:
    values = {**defaults_of(resource.model), **new}
    own = [_as_stored(values[name]) for name in fields]
    # Below an object that the file itself creates nobody can have taken anything.
    return None if any(isinstance(value, dict) for value in own) else key_of(own, fields, folded)


def _gone(import_id: int) -> Iterator[Conflict]:
    """Rows that refer to an object that somebody has removed."""
    for part in read_parts(import_id, Action.CREATE, Action.UPDATE):
        for field in CATALOG[part.resource].references.values():
            assert field.target is not None
            wanted: dict[int, list[PlannedRow]] = {}
            for row in part.rows:
                reference = row.new.get(field.name)
                if reference and "id" in reference and row.action != Action.ERROR.value:
                    wanted.setdefault(reference["id"], []).append(row)
            identity = field.target.__table__.c.id
            there = set(db.session.scalars(sa.select(identity).where(any_of(identity, wanted)))) if wanted else set()
            for row in (row for identity, rows in wanted.items() if identity not in there for row in rows):
                yield _conflict(part, row, f"The {field.title.lower()} that it refers to is gone.")


def _conflict(part: Part, row: PlannedRow, message: str) -> Conflict:
    return {
        "sheet": part.sheet,
        "row": row.row,
        "resource": part.resource,
        "id": row.object_id,
        "message": message,
    }
