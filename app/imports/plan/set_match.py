"""Match rows with stored objects by the fields and attributes that people have set."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.messages import tr
from app.core.values import fold, fold_value
from app.imports.parse.rows import ParsedRow
from app.imports.settings import find_field
from app.resource import Kind, Resource
from app.resource.query.json_filters import attribute_text
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX

Load = Callable[[sa.ColumnElement[Any], Iterable[Any]], Sequence[Mapping[str, Any]]]
"""Loads the visible objects that have one of these values in a column or an expression."""


def find_by_set_fields(resource: Resource, rows: Sequence[ParsedRow], targets: Sequence[str], load: Load) -> None:
    """Match rows that fill all of these fields and attributes with the objects that have the same values."""
    items = [find_field(resource, target) for target in targets]
    names = [item.name if item else target for item, target in zip(items, targets, strict=True)]
    keys = {id(row): key for row in rows if None not in (key := _key_values(row.values, row.attributes, names))}
    if not keys:
        return
    # Objects are loaded by the field that tells most of them apart.
    at = max(range(len(names)), key=lambda position: len({key[position] for key in keys.values()}))
    load_by = {key[at] for key in keys.values() if not isinstance(key[at], ParsedRow)}
    stored: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for values in load(_key_column(resource, names[at]), load_by):
        stored[_key_values(values, values.get("attributes", {}), names)].append(values)
    for row in rows:
        candidates = stored.get(keys.get(id(row), ()), [])
        if len(candidates) == 1:
            row.existing = candidates[0]
        elif candidates:
            message = tr(
                "{count} objects have the same {fields}: set further fields to match by.",
                count=len(candidates),
                fields=", ".join(targets),
            )
            row.add_error(items[-1].name if items[-1] else "attributes", "ambiguous", message)


def _key_values(values: Mapping[str, Any], attributes: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(
        _attribute_key(attributes.get(name.removeprefix(ATTRIBUTE_PREFIX)))
        if name.startswith(ATTRIBUTE_PREFIX)
        else fold_value(values.get(name))
        for name in names
    )


def _attribute_key(value: Any) -> str | None:
    """An attribute as it is compared: 7 and "7" are alike."""
    return None if value is None else fold(str(value))


def _key_column(resource: Resource, name: str) -> sa.ColumnElement[Any]:
    table = resource.model.__table__
    if name.startswith(ATTRIBUTE_PREFIX):
        return sa.func.fold(attribute_text(table.c.attributes, name.removeprefix(ATTRIBUTE_PREFIX)))
    return sa.func.fold(table.c[name]) if resource.fields[name].kind is Kind.TEXT else table.c[name]
