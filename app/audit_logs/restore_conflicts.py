"""Conflicts of a restore: what has changed since the record, such as a taken name or a reference that is gone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.audit_logs.reattachment import ObjectKey
from app.core.audit.models import AuditLog
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.messages import Term, tr
from app.core.values import as_json, same_json
from app.resource import Kind, Resource, service
from app.resource.fields import Field, default_of
from app.resource.json_fields import put_back_attributes
from app.resource.uniqueness import index_rules, key_of, taken_keys

logs = AuditLog.__table__


def find_newer(resource: Resource, records: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Conflicts of objects that have newer records than these."""
    statement = (
        sa.select(logs.c.resource_id, sa.func.max(logs.c.version))
        .where(
            logs.c.resource_type == resource.name,
            any_of(logs.c.resource_id, [record.resource_id for record in records]),
        )
        .group_by(logs.c.resource_id)
    )
    latest = dict(db.session.execute(statement).all())
    for record in records:
        if (newest := latest[record.resource_id]) > record.version:
            message = tr("It has been restored already; its latest version is {latest}.", latest=newest)
            yield conflict_of(resource, record.resource_id, record.resource_name, "newer", message)


def find_missing_references(
    resource: Resource, rows: Sequence[dict[str, Any]], deleted: Mapping[ObjectKey, Any], left_out: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Conflicts of references to objects that neither exist nor are restored now.

    A reference that only the application sets is left out instead.
    """
    for item in resource.references.values():
        for row, identity in _dangling(item, rows, deleted):
            assert item.target is not None
            if item.read_only and item.nullable:
                row[item.name] = None
                left_out.append({**named(resource, row), "field": item.name, "value": identity})
            else:
                reference = f"{item.title.lower()}, {item.target.__tablename__} {identity}"
                message = tr("Its {reference}, does not exist: restore that first.", reference=reference)
                yield conflict_of(resource, row["id"], str(row[resource.model.label]), "gone", message, field=item.name)


def _dangling(
    item: Field, rows: Sequence[dict[str, Any]], deleted: Mapping[ObjectKey, Any]
) -> Iterator[tuple[dict[str, Any], int]]:
    assert item.target is not None
    table = item.target.__table__
    ids = {row[item.name] for row in rows if row[item.name] is not None}
    ids = {identity for identity in ids if (table.name, identity) not in deleted}
    existing = set(db.session.scalars(sa.select(table.c.id).where(any_of(table.c.id, ids)))) if ids else set()
    for row in rows:
        if row[item.name] in ids - existing:
            yield row, row[item.name]


def find_invalid(resource: Resource, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Conflicts of rows that are invalid without a left out reference, unless a default makes them valid."""
    for row in rows:
        for name in resource.model.validate(row):
            row[name] = default_of(resource.model.__table__.c[name])
        for name, texts in resource.model.validate(row).items():
            yield conflict_of(resource, row["id"], str(row[resource.model.label]), "invalid", texts[0], field=name)


def find_taken(resource: Resource, rows: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Conflicts of rows whose unique value belongs to another object now."""
    for names, folded in index_rules(resource.model):
        keys = {identity: key_of([row[name] for name in names], names, folded) for identity, row in rows.items()}
        id_of = {key: identity for identity, key in keys.items() if key is not None}
        for key, other in taken_keys(resource, id_of, names, folded).items():
            identity = id_of[key]
            if other == identity:
                continue
            what, title = service.singular(resource), resource.fields[names[-1]].term
            message = tr("Another {what} ({other}) has the same {title} now.", what=what, other=other, title=title)
            name = str(rows[identity][resource.model.label])
            yield {**conflict_of(resource, identity, name, "taken", message, field=names[-1]), "by": other}


def find_changed(resource: Resource, target: Any, changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Conflicts of fields that have changed since."""
    for name, what, value, then in _values_since(resource, target, changes):
        if not same_json(value, then):
            conflict = conflict_of(
                resource, target.id, str(target), "changed", tr("Its {what} has changed since.", what=what), field=name
            )
            yield {**conflict, "now": value, "then": then}


def _values_since(resource: Resource, target: Any, changes: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Field, title, value now and value then of all that a change set; attributes are fields of their own."""
    for name, change in changes.items():
        item, value = resource.fields[name], getattr(target, name)
        if item.kind is Kind.ATTRIBUTES:
            for key in put_back_attributes(value, change["old"], change["new"])[1]:
                what, then = Term(f"attribute {key}", f"属性 {key}"), (change["new"] or {}).get(key)
                yield f"{name}.{key}", what, value.get(key), then
        else:
            yield name, item.term, as_json(value), change["new"]


def conflict_of(
    resource: Resource, identity: int, name: str | None, problem: str, message: str, **facts: Any
) -> dict[str, Any]:
    """A conflict as an answer lists it; `problem` is its kind."""
    return {"type": resource.name, "id": identity, "name": name, "problem": problem, "message": message, **facts}


def named(resource: Resource, row: Mapping[str, Any]) -> dict[str, Any]:
    """A restored object as an answer lists it."""
    label = resource.model.label
    return {"type": resource.name, "id": row["id"], "name": str(row[label]), "version": row["version"]}
