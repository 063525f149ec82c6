"""Find the stored objects of rows.

A row is matched by its `_id`, by the field that the upload names in `match`, or by the resource's natural keys; one
that fills in none of them by what objects are called, where that cannot mean another.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.db.rules import unique_rules
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.values import fold, fold_value
from app.imports.map.tables import Table
from app.imports.parse.row_parser import ParsedRow
from app.imports.plan.references import stored_ids
from app.imports.plan.uniqueness import add_duplicate_error
from app.resource import Kind, Resource, singular
from app.resource.rights import visible
from app.resource.uniqueness import member_rules

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
    if keys is resource.natural_key and resource.name_key:
        _find_by_name(resource, rows, columns)
    first_rows: dict[int, ParsedRow] = {}
    for row in rows:
        if row.existing is not None:
            first = first_rows.setdefault(row.existing["id"], row)
            if first is not row:
                add_duplicate_error(row, first, resource.natural_key[-1][-1])
    _warn_without_key(resource, rows, [key[-1] for key in keys])


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
    for row, candidates in _candidates(resource, rows, key, columns):
        if len(candidates) == 1:
            row.existing = candidates[0]
        elif candidates:
            advice = f"Fill in {resource.fields[parents[0]].title}" if parents else "Add a column _id"
            message = f"{len(candidates)} objects are called {row.values[last]}. {advice} to tell them apart."
            row.add_error(last, "ambiguous", message)


def _find_by_name(resource: Resource, rows: Sequence[ParsedRow], columns: Columns) -> None:
    """Match rows that fill in no natural key by their names, each where one row and one object have it.

    Otherwise a file without keys would create everything again each time. A row with a key that nobody has is another
    object, whatever it is called.
    """
    key = resource.name_key
    silent = [row for row in rows if _is_silent(resource, row)]
    named = Counter(_values_of(row, key) for row in silent)
    alone = [row for row in silent if named[_values_of(row, key)] == 1]
    for row, candidates in _candidates(resource, alone, key, columns):
        if len(candidates) == 1:
            row.existing = candidates[0]


def _is_silent(resource: Resource, row: ParsedRow) -> bool:
    """Whether a row says nothing of the object that it is about but its name."""
    keys = (key[-1] for key in resource.natural_key)
    return row.existing is None and row.exported_id is None and all(row.values.get(name) is None for name in keys)


def _values_of(row: ParsedRow, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(fold_value(row.values.get(name)) for name in key)


def _candidates(
    resource: Resource, rows: Sequence[ParsedRow], key: Sequence[str], columns: Columns
) -> Iterator[tuple[ParsedRow, list[Any]]]:
    """Each row that fills in the key, with the objects that have its values."""
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
        yield row, candidates


def _warn_without_key(resource: Resource, rows: Sequence[ParsedRow], key_fields: Sequence[str]) -> None:
    """Add a warning to each row that fills in no key, where a stored object has the same label.

    Such a row creates an object each time it is imported. Rows whose label is a key cannot be meant: it is required.
    """
    label = resource.model.label
    if label in key_fields:
        return
    without_key = [row for row in rows if _is_silent(resource, row)]
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
    names.update(name for key in (*resource.natural_key, resource.name_key) for name in key)
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
