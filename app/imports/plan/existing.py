"""Find the stored objects of rows.

A row is matched by its `_id`, by the field that the upload names in `match`, or by the resource's natural keys: first
by what an object has for good (a tag, a serial number), then by where it is and what it is called. Where a tag or a
serial number says that it is another object, the name does not count. A row that fills in no key is matched by what
objects are called, where that cannot mean another.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from app.core.messages import Term, tr
from app.core.values import as_json, fold, fold_value
from app.imports.map.table import Table
from app.imports.parse.rows import ParsedRow
from app.imports.plan.references import stored_ids
from app.imports.plan.set_match import find_by_set_fields
from app.imports.plan.stored_objects import (
    LOADED_ONCE,
    Columns,
    add_missing_error,
    batches,
    columns_to_match,
    load,
    share_values,
)
from app.imports.plan.uniqueness import add_duplicate_error
from app.resource import Kind, Resource, singular


def find_existing(resource: Resource, tables: Sequence[Table], rows: Sequence[ParsedRow], match: str | None) -> None:
    """Set `existing` of each row whose object is stored; two rows of the same object are duplicates.

    It holds what matching and the checks against other rows need; `load_to_compare` reads the other values.
    """
    columns = columns_to_match(resource, tables, match, len(rows))
    with_id = [row for row in rows if row.exported_id is not None]
    if with_id:
        _find_by_id(resource, with_id, columns)
    for table in tables:
        if table.settings.match:
            own = [row for row in rows if row.table is table and row.exported_id is None]
            find_by_set_fields(resource, own, table.settings.match, partial(load, resource, columns))
    others = [row for row in rows if not row.table.settings.match]
    if match in resource.fields:
        keys: Sequence[tuple[str, ...]] = [(match,)]
        _find_by_key(resource, _unmatched(others), keys[0], columns)
    else:
        keys = resource.natural_key
        _find_by_natural_key(resource, others, columns)
    first_rows: dict[int, ParsedRow] = {}
    for row in rows:
        if row.existing is not None:
            first = first_rows.setdefault(row.existing["id"], row)
            if first is not row:
                add_duplicate_error(row, first, resource.natural_key[-1][-1])
    _warn_without_key(resource, others, [key[-1] for key in keys])


def _find_by_natural_key(resource: Resource, rows: Sequence[ParsedRow], columns: Columns) -> None:
    of_identity = [key for key in resource.natural_key if key[0] in resource.identifiers]
    for key in of_identity:
        _find_by_key(resource, _unmatched(rows), key, columns)
    for name in resource.recognised_by:
        _find_where_alone(resource, _unmatched(rows), (name,), columns)
    for key in resource.natural_key:
        if key not in of_identity:
            _find_by_key(resource, _unmatched(rows), key, columns, identifiers=resource.identifiers)
    if resource.name_key:
        _find_where_alone(resource, _silent(resource, rows), resource.name_key, columns)


def _unmatched(rows: Sequence[ParsedRow]) -> list[ParsedRow]:
    return [row for row in rows if row.existing is None and row.exported_id is None]


def _find_by_id(resource: Resource, rows: Sequence[ParsedRow], columns: Columns) -> None:
    is_large = len(rows) > LOADED_ONCE
    for batch in batches(rows):
        stored = load(resource, columns, resource.model.__table__.c.id, {row.exported_id for row in batch})
        by_id = {values["id"]: values for values in stored}
        for row in batch:
            row.existing = by_id.get(row.exported_id)
            if row.existing is None:
                add_missing_error(resource, row, row.exported_id)
            elif is_large:
                share_values(row, row.existing)


def _find_by_key(
    resource: Resource,
    rows: Sequence[ParsedRow],
    key: Sequence[str],
    columns: Columns,
    *,
    identifiers: Sequence[str] = (),
) -> None:
    """Match rows with the objects that have the same values in the key's fields, in one statement.

    An object of which one of the identifiers says that it is another one is no match, but an error where it has the
    whole key: there cannot be a second.
    """
    *parents, last = key
    for row, candidates, has_parents in _candidates(resource, rows, key, columns):
        if len(candidates) == 1 and not identifiers:
            row.existing = candidates[0]
            continue
        others = [(other, name) for other in candidates if (name := _contradiction(row, other, identifiers))]
        alike = candidates
        if others:
            if has_parents:
                _add_contradiction(resource, row, key, *others[0])
            alike = [one for one in candidates if all(one is not other for other, _ in others)]
        if len(alike) == 1:
            row.existing = alike[0]
        elif alike:
            facts = {"count": len(alike), "name": row.values[last]}
            message = tr("{count} objects are called {name}. Add a column _id to tell them apart.", **facts)
            if parents:
                message = tr(
                    "{count} objects are called {name}. Fill in {field} to tell them apart.",
                    **facts,
                    field=resource.fields[parents[0]].heading,
                )
            row.add_error(last, "ambiguous", message)


def _contradiction(row: ParsedRow, stored: Mapping[str, Any], identifiers: Sequence[str]) -> str | None:
    """The first identifier in which a row and an object differ; an absent one says nothing."""
    for name in identifiers:
        value, current = row.values.get(name), stored.get(name)
        if value in (None, current) or current is None:
            continue
        if fold_value(value) != fold_value(current):
            return name
    return None


def _add_contradiction(
    resource: Resource, row: ParsedRow, key: Sequence[str], stored: Mapping[str, Any], name: str
) -> None:
    label = resource.model.label
    headings = [resource.fields[each].heading for each in key if row.values.get(each) is not None]
    facts = {
        "what": singular(resource),
        "where": Term(" and ".join(headings), "和".join(each.chinese for each in headings)),
        "field": resource.fields[name].heading,
        "stored": as_json(stored[name]),
        "given": as_json(row.values[name]),
    }
    message = tr("The {what} of this {where} has the {field} {stored}, and this row {given}.", **facts)
    if label in key:
        message = tr(
            "The {what} of this {where} has the {field} {stored}, and this row {given}. If it is the same one, import "
            "with match={label}.",
            **facts,
            label=label,
        )
    row.add_error(key[-1], "contradiction", message)


def _find_where_alone(resource: Resource, rows: Sequence[ParsedRow], key: Sequence[str], columns: Columns) -> None:
    """Match rows by fields that nothing makes unique, each where one row and one object have these values."""
    matches = [(row, alike[0]) for row, alike, _ in _candidates(resource, rows, key, columns) if len(alike) == 1]
    # Rows with the same values find the same object.
    is_repeated = len({candidate["id"] for _, candidate in matches}) < len(matches)
    numbers = Counter(_folded(row, key) for row in rows) if is_repeated else {}
    others = [name for name in resource.identifiers if name not in key]
    for row, candidate in matches:
        is_alone = not is_repeated or numbers[_folded(row, key)] == 1
        if is_alone and not _contradiction(row, candidate, others):
            row.existing = candidate


def _folded(row: ParsedRow, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple([fold_value(row.values.get(name)) for name in key])


def _silent(resource: Resource, rows: Sequence[ParsedRow]) -> list[ParsedRow]:
    """The rows without an object that say nothing of the object that they are about but its name."""
    keys = {*resource.identifiers, *(key[-1] for key in resource.natural_key)}
    return [row for row in _unmatched(rows) if all(row.values.get(name) is None for name in keys)]


def _candidates(
    resource: Resource, rows: Sequence[ParsedRow], key: Sequence[str], columns: Columns
) -> Iterator[tuple[ParsedRow, list[Any], bool]]:
    """Each row that fills in the key, the objects with its values, and whether these have its parents too."""
    with_key = [row for row in rows if row.values.get(key[-1]) is not None]
    is_large = len(with_key) > LOADED_ONCE
    for batch in batches(with_key):
        for row, candidates, has_parents in _candidates_of(resource, batch, key, columns):
            if is_large:
                for candidate in candidates:
                    share_values(row, candidate)
            yield row, candidates, has_parents


def _candidates_of(
    resource: Resource, with_key: Sequence[ParsedRow], key: Sequence[str], columns: Columns
) -> Iterator[tuple[ParsedRow, list[Any], bool]]:
    *parents, last = key
    table = resource.model.__table__
    names = [fold_value(row.values[last]) for row in with_key]
    if resource.fields[last].kind is Kind.TEXT:
        stored = load(resource, columns, sa.func.fold(table.c[last]), set(names))
    else:
        parent_ids = {row.values.get(parents[0]) for row in with_key}
        stored = load(resource, columns, table.c[parents[0]], {one for one in parent_ids if isinstance(one, int)})
    if not stored:
        return
    by_key: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    by_last: dict[Any, list[Any]] = defaultdict(list)
    if not parents:
        for values in stored:
            by_last[fold_value(values[last])].append(values)
        yield from (
            (row, alike, True) for row, name in zip(with_key, names, strict=True) if (alike := by_last.get(name))
        )
        return
    for values in stored:
        name = fold_value(values[last])
        by_key[(*[values[parent] for parent in parents], name)].append(values)
        by_last[name].append(values)
    for row, name in zip(with_key, names, strict=True):
        row_parents = [row.values.get(parent) for parent in parents]
        candidates = by_key.get((*row_parents, name), [])
        has_parents = bool(candidates)
        # A row without a parent is matched by its name alone where only one object has it.
        if not candidates and not any(row_parents) and row.reference_names.keys().isdisjoint(parents):
            candidates = by_last.get(name, [])
        yield row, candidates, has_parents


def _warn_without_key(resource: Resource, rows: Sequence[ParsedRow], key_fields: Sequence[str]) -> None:
    """Add a warning to each row that fills in no key, where a stored object has the same label.

    Such a row creates an object each time it is imported. Rows whose label is a key cannot be meant: it is required.
    """
    label = resource.model.label
    if label in key_fields:
        return
    without_key = _silent(resource, rows)
    names = {fold(row.values[label]) for row in without_key if row.values.get(label)}
    ids = stored_ids(resource.model, names)
    keys = [resource.fields[name].heading for name in dict.fromkeys(key_fields)]
    what = singular(resource)
    facts = {
        "what": what,
        "field": resource.fields[label].term,
        "keys": Term(", ".join(keys), "、".join(each.chinese for each in keys)),
    }
    for row in without_key:
        if row.values.get(label) and (alike := ids.get(fold(row.values[label]))):
            if len(alike) > 1:
                message = tr(
                    "{count} others have this {field}. Without a key ({keys}) the row is a new {what} at each import.",
                    **facts,
                    count=len(alike),
                )
            else:
                message = tr(
                    "{holder} {object_id} has this {field}. Without a key ({keys}) the row is a new {what} at each "
                    "import.",
                    **facts,
                    holder=what.at_start(),
                    object_id=alike[0],
                )
            row.add_warning(row.table.column_of(label), row.values[label], "without_key", message)
