"""Match rows with stored objects, and refuse values that another row or object already has.

A row is matched by its `_id`, by the field that the upload names in `match`, or by the resource's natural keys.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.db.rules import SoftUnique, unique_rules
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import fold, fold_value
from app.imports.map.tables import Table
from app.imports.parse.row_parser import ParsedRow
from app.imports.plan.references import stored_ids
from app.resource import Kind, Resource, singular
from app.resource.fields import defaults_of
from app.resource.projection import visible, visible_ids
from app.resource.uniqueness import (
    Key,
    MemberRule,
    key_of,
    member_rules,
    shared_key,
    shared_with,
    taken_keys,
)

Columns = Sequence[sa.Column[Any]]


def find_existing(resource: Resource, tables: Sequence[Table], rows: Sequence[ParsedRow], match: str | None) -> None:
    """Set `existing` of each row whose object is stored; two rows of the same object are duplicates."""
    columns = _columns_to_load(resource, tables)
    with_id = [row for row in rows if row.exported_id is not None]
    if with_id:
        _find_by_id(resource, with_id, columns)
    keys = [(match,)] if match in resource.fields else resource.natural_key
    for key in keys:
        assert all(key)
        unmatched = [row for row in rows if row.existing is None and row.exported_id is None]
        _find_by_key(resource, unmatched, key, columns)
    first_rows: dict[int, ParsedRow] = {}
    for row in rows:
        if row.existing is not None:
            first = first_rows.setdefault(row.existing["id"], row)
            if first is not row:
                _add_duplicate_error(row, first, resource.natural_key[-1][-1])
    _warn_without_key(resource, rows, [key[-1] for key in keys])


def check_unique(resource: Resource, rows: Sequence[ParsedRow]) -> None:
    """Add an error to each row with a unique value that an earlier row or a stored object has."""
    for fields, folded in unique_rules(resource.model.__table__):
        _check_rule(resource, rows, fields, folded)
    for rule in member_rules(resource.model):
        _check_member_rule(resource, rows, rule)


def warn_shared(resource: Resource, rows: Sequence[ParsedRow]) -> None:
    """Add a warning to each row whose object comes to share what objects rarely share, such as a rack unit."""
    defaults = defaults_of(resource.model)
    for rule in resource.model.rarely_shared:
        first_rows: dict[Key, ParsedRow] = {}
        claims: dict[Key, ParsedRow] = {}
        moving: set[int] = set()
        for row in rows:
            if row.errors or set(rule.fields).isdisjoint(row.values):
                continue
            base = defaults if row.existing is None else row.existing
            key = shared_key(rule, resource.model, {name: row.values.get(name, base[name]) for name in rule.fields})
            is_claim = row.existing is None or not set(rule.fields).isdisjoint(row.old)
            if row.existing is not None and is_claim:
                moving.add(row.existing["id"])
            if key is None:
                continue
            first = first_rows.setdefault(key, row)
            if first is not row:
                _add_shared_warning(row, rule, _place(first, row))
            elif is_claim:
                claims[key] = row
        stored = shared_with(resource, rule, claims, moving)
        name_of = _namer(resource, stored.values())
        for key, holder in stored.items():
            _add_shared_warning(claims[key], rule, name_of(holder))


def has_rule(model: type[Entity]) -> bool:
    """Whether a model validates an object as a whole; the rule may read any of its values."""
    return _overrides(model, "validate") or bool(model.checks)


def _overrides(model: type[Entity], method: str) -> bool:
    return getattr(model, method).__func__ is not getattr(Entity, method).__func__


def _find_by_id(resource: Resource, rows: Sequence[ParsedRow], columns: Columns) -> None:
    stored = _load(resource, columns, resource.model.__table__.c.id, {row.exported_id for row in rows})
    by_id = {values["id"]: values for values in stored}
    for row in rows:
        row.existing = by_id.get(row.exported_id)
        if row.existing is None:
            row.add_error("id", "identity", f"There is no {singular(resource)} {row.exported_id}.")


def _find_by_key(resource: Resource, rows: Sequence[ParsedRow], key: Sequence[str], columns: Columns) -> None:
    """Match rows with the objects that have the same values in the key's fields, in one statement."""
    *parents, last = key
    table = resource.model.__table__
    with_key = [row for row in rows if row.values.get(last) is not None]
    if not with_key:
        return
    if resource.fields[last].kind is Kind.TEXT:
        names = {fold(row.values[last]) for row in with_key}
        stored = _load(resource, columns, sa.func.fold(table.c[last]), names)
    else:
        parent_ids = {row.values.get(parents[0]) for row in with_key}
        stored = _load(resource, columns, table.c[parents[0]], {one for one in parent_ids if isinstance(one, int)})
    if not stored:
        return
    by_key: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    by_last: dict[Any, list[Any]] = defaultdict(list)
    for values in stored:
        by_key[(*(values[name] for name in parents), fold_value(values[last]))].append(values)
        by_last[fold_value(values[last])].append(values)
    for row in with_key:
        row_parents = tuple(row.values.get(name) for name in parents)
        name = fold_value(row.values[last])
        candidates = by_key.get((*row_parents, name), [])
        # A row without a parent is matched by its name alone where only one object has it.
        if not candidates and not any(row_parents) and not any(name in row.reference_names for name in parents):
            candidates = by_last.get(name, [])
        if len(candidates) == 1:
            row.existing = candidates[0]
        elif candidates:
            advice = f"Fill in {resource.fields[parents[0]].title}" if parents else "Add a column _id"
            message = f"{len(candidates)} objects are called {row.values[last]}. {advice} to tell them apart."
            row.add_error(last, "ambiguous", message)


def _warn_without_key(resource: Resource, rows: Sequence[ParsedRow], key_fields: Sequence[str]) -> None:
    """Add a warning to each row that fills in no key, where a stored object has the same label.

    Such a row creates an object each time it is imported. Rows whose label is a key cannot be meant: it is required.
    """
    label = resource.model.label
    if label in key_fields:
        return
    without_key = [
        row for row in rows if row.exported_id is None and all(row.values.get(name) is None for name in key_fields)
    ]
    names = {fold(row.values[label]) for row in without_key if row.values.get(label)}
    ids = stored_ids(resource.model, names)
    what, title = singular(resource), resource.fields[label].title.lower()
    keys = " or ".join(resource.fields[name].title for name in dict.fromkeys(key_fields))
    for row in without_key:
        if row.values.get(label) and (alike := ids.get(fold(row.values[label]))):
            others = f"{len(alike)} others have" if len(alike) > 1 else f"{what.capitalize()} {alike[0]} has"
            message = f"{others} this {title}. Without {keys} the row is a new {what} at each import."
            row.add_warning(row.table.column_of(label), row.values[label], "without_key", message)


def _columns_to_load(resource: Resource, tables: Sequence[Table]) -> list[sa.Column[Any]]:
    """The columns of stored objects that matching, comparing and checking need."""
    model = resource.model
    names = {"id", "version", "created_by_id", model.label}
    names.update(column.field.name for table in tables for column in table.columns if column.field is not None)
    names.update(name for key in resource.natural_key for name in key)
    names.update(name for fields, _ in unique_rules(model.__table__) for name in fields)
    names.update(name for rule in model.rarely_shared for name in rule.fields)
    names.update(name for rule in member_rules(model) for name in (rule.field, *rule.own))
    if "attributes" in resource.fields:
        names.add("attributes")
    if has_rule(model) or _overrides(model, "implied"):
        names.update(column.key for column in model.__table__.columns)
    return [column for column in model.__table__.columns if column.key in names]


def _load(
    resource: Resource, columns: Columns, by: sa.ColumnElement[Any], values: Iterable[Any]
) -> list[dict[str, Any]]:
    wanted = list(values)
    if not wanted:
        return []
    names = [column.key for column in columns]
    stored = db.session.execute(sa.select(*columns).where(any_of(by, wanted), *visible(resource.model)))
    return [dict(zip(names, values, strict=True)) for values in stored]


def _check_rule(resource: Resource, rows: Sequence[ParsedRow], fields: Sequence[str], folded: Sequence[str]) -> None:
    concerned = frozenset(fields)
    first_rows: dict[Key, ParsedRow] = {}
    claims: dict[Key, ParsedRow] = {}
    defaults = defaults_of(resource.model)
    for row in rows:
        values = row.values
        if concerned.isdisjoint(values):
            continue
        if row.errors and not concerned.isdisjoint(error["field"] for error in row.errors):
            continue
        base = defaults if row.existing is None else row.existing
        key = key_of([values[name] if name in values else base[name] for name in fields], fields, folded)
        if key is None:
            continue
        first = first_rows.setdefault(key, row)
        if first is not row:
            _add_duplicate_error(row, first, fields[-1])
        elif row.existing is None or any(name in row.old for name in fields):
            claims[key] = row
    stored = taken_keys(resource, claims, fields, folded)
    holders = {key: holder for key, holder in stored.items() if holder != claims[key].object_id}
    name_of = _namer(resource, holders.values())
    for key, holder in holders.items():
        title = resource.fields[fields[-1]].title
        claims[key].add_error(fields[-1], "taken", f"{name_of(holder)} already has this {title}.")


def _check_member_rule(resource: Resource, rows: Sequence[ParsedRow], rule: MemberRule) -> None:
    concerned = {rule.field, *rule.own}
    first_rows: dict[Key, ParsedRow] = {}
    claims: dict[Key, ParsedRow] = {}
    kept: dict[int, set[Key]] = {}
    defaults = defaults_of(resource.model)
    for row in rows:
        if concerned.isdisjoint(row.values) or not concerned.isdisjoint(error["field"] for error in row.errors):
            continue
        keys = set(rule.keys({**(defaults if row.existing is None else row.existing), **row.values}))
        if row.existing is not None and not row.errors:
            kept[row.existing["id"]] = keys
        for key in keys:
            first = first_rows.setdefault(key, row)
            if first is not row:
                _add_member_error(row, rule, key, "duplicate", _place(first, row))
            elif row.existing is None or not concerned.isdisjoint(row.old):
                claims[key] = row
    # The database knows owners by id: an object that the file itself creates has no stored members yet.
    stored = rule.taken(key for key in claims if not any(isinstance(part, ParsedRow) for part in key))
    holders = {key: holder for key, holder in stored.items() if holder != claims[key].object_id}
    name_of = _namer(resource, holders.values())
    for key, holder in holders.items():
        # Updates are written before creations: what a row of the file gives up is free for a new object.
        if claims[key].existing is not None or key in kept.get(holder, (key,)):
            _add_member_error(claims[key], rule, key, "taken", name_of(holder))


def _add_member_error(row: ParsedRow, rule: MemberRule, key: Key, code: str, holder: str) -> None:
    """Add the error to the cell of the list, or to that of the owner where the row does not fill the list."""
    fields = row.table.resource.fields
    field = next((name for name in (rule.field, *rule.own) if name in row.values), rule.field)
    member = "/".join(str(part) for part in reversed(key[len(rule.own) :]))
    owner = " and ".join(fields[name].title.lower() for name in rule.own)
    row.add_error(field, code, f"{holder} already has {member} on this {owner}.", value=member)


def _namer(resource: Resource, ids: Iterable[int]) -> Callable[[int], str]:
    """What to call the object that has a value: with its id only where the acting user sees it."""
    shown = visible_ids(resource.model, set(ids))
    return lambda holder: f"Another {singular(resource)}{f' ({holder})' if holder in shown else ''}"


def _add_shared_warning(row: ParsedRow, rule: SoftUnique, holder: str) -> None:
    field = next(name for name in reversed(rule.fields) if name in row.values)
    value = row.reference_names.get(field, row.values[field])
    row.add_warning(row.table.column_of(field), value, "shared", f"{holder} has this {rule.noun} too.")


def _add_duplicate_error(row: ParsedRow, first: ParsedRow, field: str) -> None:
    what = singular(row.table.resource)
    row.add_error(field, "duplicate", f"{_place(first, row)} describes the same {what}.")


def _place(other: ParsedRow, row: ParsedRow) -> str:
    """Where another row stands: with the name of its sheet where that is not the row's own."""
    return f"Row {other.number}" if other.table is row.table else f"Row {other.number} of {other.table.sheet.name}"
