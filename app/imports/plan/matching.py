"""Which stored object each row means: the one of its `_id`, of the chosen field, or of the natural key."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.models import unique_fields
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.imports.map.tables import Table
from app.imports.parse.rows import Draft
from app.imports.plan.uniqueness import fail_as_duplicate, has_rule
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.resource.service import singular
from app.resource.uniqueness import fold, member_rules
from app.resource.visibility import visible

Columns = Sequence[sa.Column[Any]]


def find_existing(resource: Resource, tables: Sequence[Table], drafts: Sequence[Draft], match: str | None) -> None:
    """Give each draft the stored object that it describes, if there is one; two may not describe the same."""
    columns = _columns_to_load(resource, tables)
    by_identity = [draft for draft in drafts if draft.identity is not None]
    if by_identity:
        _find_by_identity(resource, by_identity, columns)
    keys = [(match,)] if match in resource.fields else resource.natural_key
    for key in keys:
        assert all(key)
        unknown = [draft for draft in drafts if draft.existing is None and draft.identity is None]
        _find_by_key(resource, unknown, key, columns)
    seen: dict[int, Draft] = {}
    for draft in drafts:
        if draft.existing is not None:
            first = seen.setdefault(draft.existing["id"], draft)
            if first is not draft:
                fail_as_duplicate(draft, first, resource.natural_key[-1][-1])


def _find_by_identity(resource: Resource, drafts: Sequence[Draft], columns: Columns) -> None:
    rows = _load(resource, columns, resource.model.__table__.c.id, {draft.identity for draft in drafts})
    found = {row["id"]: row for row in rows}
    for draft in drafts:
        draft.existing = found.get(draft.identity)
        if draft.existing is None:
            draft.fail("id", "identity", f"There is no {singular(resource)} {draft.identity}.")


def _find_by_key(resource: Resource, drafts: Sequence[Draft], key: Sequence[str], columns: Columns) -> None:
    """Match drafts with the objects that have the same values in the key's fields, in one statement."""
    *parents, last = key
    table = resource.model.__table__
    with_key = [draft for draft in drafts if draft.values.get(last) is not None]
    if not with_key:
        return
    if resource.fields[last].kind is Kind.TEXT:
        names = {fold(draft.values[last]) for draft in with_key}
        rows = _load(resource, columns, sa.func.lower(table.c[last]), names)
    else:
        ids = {draft.values.get(parents[0]) for draft in with_key}
        known = {identity for identity in ids if isinstance(identity, int)}
        rows = _load(resource, columns, table.c[parents[0]], known)
    if not rows:
        return
    exact: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    by_last: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        exact[(*(row[name] for name in parents), fold(row[last]))].append(row)
        by_last[fold(row[last])].append(row)
    for draft in with_key:
        above = tuple(draft.values.get(name) for name in parents)
        own = fold(draft.values[last])
        alike = exact.get((*above, own), [])
        # Where the row does not say whose it is, its name alone may be enough.
        if not alike and not any(above) and not any(name in draft.names for name in parents):
            alike = by_last.get(own, [])
        if len(alike) == 1:
            draft.existing = alike[0]
        elif alike:
            which = "say where it is" if parents else "say which by its _id"
            draft.fail(last, "ambiguous", f"{len(alike)} objects are called {draft.values[last]}: {which}.")


def _columns_to_load(resource: Resource, tables: Sequence[Table]) -> list[sa.Column[Any]]:
    """What must be known of stored objects to match, compare and check them."""
    model = resource.model
    names = {"id", "version", "created_by_id", model.label}
    names.update(column.field.name for table in tables for column in table.columns if column.field is not None)
    names.update(name for key in resource.natural_key for name in key)
    names.update(name for fields, _ in unique_fields(model.__table__) for name in fields)
    names.update(name for rule in member_rules(model) for name in (rule.field, *rule.own))
    if "attributes" in resource.fields:
        names.add("attributes")
    if has_rule(model):
        names.update(column.key for column in model.__table__.columns)
    return [column for column in model.__table__.columns if column.key in names]


def _load(
    resource: Resource, columns: Columns, by: sa.ColumnElement[Any], values: Iterable[Any]
) -> list[dict[str, Any]]:
    wanted = list(values)
    if not wanted:
        return []
    names = [column.key for column in columns]
    rows = db.session.execute(sa.select(*columns).where(any_of(by, wanted), *visible(resource.model)))
    return [dict(zip(names, row, strict=True)) for row in rows]
