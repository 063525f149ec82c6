"""Merge rows of several sheets that describe the same object into one."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from app.core.messages import Message, tr
from app.core.values import as_json, fold_value, same_json
from app.imports.models import RowAction
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.resource import Kind, Resource

RowKey = tuple[Any, ...]


def merge_rows(tables: Sequence[ParsedTable]) -> None:
    """Merge rows of later sheets of a resource into those of earlier ones that describe the same object.

    Two rows of one sheet are never merged: there, the second is a duplicate.
    """
    resource = tables[0].table.resource
    by_key: dict[tuple[str, ...], dict[RowKey, ParsedRow]] = {key: {} for key in resource.natural_key}
    by_last: dict[str, dict[Any, list[ParsedRow]]] = defaultdict(lambda: defaultdict(list))
    for parsed in tables:
        unmerged: list[ParsedRow] = []
        for row in parsed.rows:
            first = next(_same_object(row, resource, by_key, by_last), None)
            if first is None:
                unmerged.append(row)
            else:
                _merge(first, row)
        for row in unmerged:
            for key in resource.natural_key:
                if row.values.get(key[-1]) is not None:
                    by_key[key].setdefault(_key_of(row, key), row)
                    by_last[key[-1]][fold_value(row.values[key[-1]])].append(row)


def copy_decision(row: ParsedRow, first: ParsedRow) -> None:
    """Give a merged row the object of the first one; it changes nothing by itself, and has an error if that has."""
    if first.errors and not row.errors:
        message = tr("It is merged into {place}, which has errors.", place=_place(first))
        row.add_error(None, "reference", message)
    row.existing = first.existing
    row.action = RowAction.ERROR if row.errors else RowAction.UNCHANGED


def _same_object(
    row: ParsedRow,
    resource: Resource,
    by_key: dict[tuple[str, ...], dict[RowKey, ParsedRow]],
    by_last: dict[str, dict[Any, list[ParsedRow]]],
) -> Iterator[ParsedRow]:
    """Earlier rows with the same natural key, or with the same name where one of the two has no parent."""
    for key in resource.natural_key:
        *parents, last = key
        if row.values.get(last) is None:
            continue
        if first := by_key[key].get(_key_of(row, key)):
            yield first
        same_name = by_last[last].get(fold_value(row.values[last]), [])
        if parents and len(same_name) == 1 and resource.fields[last].kind is Kind.TEXT:
            other = same_name[0]
            if not all(name in one.reference_names for one in (row, other) for name in parents):
                yield other


def _key_of(row: ParsedRow, key: tuple[str, ...]) -> RowKey:
    return tuple(fold_value(row.values.get(name)) for name in key)


def _merge(first: ParsedRow, later: ParsedRow) -> None:
    """Give the values of the later row to the first; different values of one field are an error of the later one."""
    place = _place(first)
    later.merged_into = first
    if first.errors:
        message = tr("It describes the same object as {place}, which has errors.", place=place)
        later.add_error(None, "reference", message)
    for name, value in later.values.items():
        if name in first.values and fold_value(first.values[name]) != fold_value(value):
            other = first.reference_names[name] if name in first.reference_names else as_json(first.values[name])
            message = tr(
                "It describes the same object as {place}, where this value is {value}.", place=place, value=other
            )
            later.add_error(name, "contradiction", message)
    for name, value in later.attributes.items():
        if name in first.attributes and not same_json(first.attributes[name], value):
            message = tr(
                "It describes the same object as {place}, where {name} is {value}.",
                place=place,
                name=name,
                value=first.attributes[name],
            )
            later.add_error("attributes", "contradiction", message)
    if not later.errors:
        first.values = {**later.values, **first.values}
        first.reference_names = {**later.reference_names, **first.reference_names}
        first.attributes = {**later.attributes, **first.attributes}
        message = tr("It is merged into {place}, which describes the same object.", place=place)
        later.add_warning(None, None, "completes", message)


def _place(row: ParsedRow) -> Message:
    return tr("row {row} of {sheet}", row=row.number, sheet=row.table.sheet.name)
