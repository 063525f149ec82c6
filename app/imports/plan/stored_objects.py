"""Load stored objects for a plan: what matching needs of all of them, and all values of a batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.core.db.models import Entity
from app.core.db.statements import BATCH_ROWS, any_of, fetch_rows
from app.core.messages import tr
from app.imports.map.table import Table
from app.imports.parse.rows import ParsedRow, dict_factory
from app.resource import Resource, singular
from app.resource.rows import visible
from app.resource.uniqueness import index_rules, member_rules
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX

Columns = Sequence[sa.Column[Any]]

LOADED_ONCE = 20_000
"""Rows up to which time counts more than memory.

Their objects are loaded once, with all values: a plan that changes nothing takes a third less time.
"""
MAX_LOADED = 20_000
"""Values that one statement looks for: the driver keeps the whole answer in memory."""
ROWS_TO_MATCH = 10_000
"""Rows whose candidates are in memory together."""


def load_to_compare(
    resource: Resource, tables: Sequence[Table], rows: Sequence[ParsedRow]
) -> Iterator[tuple[Sequence[ParsedRow], Mapping[int, Mapping[str, Any]]]]:
    """Batches of the rows, each with the stored objects of its rows by id, with all values that the rows may change.

    Of many rows only a batch is in memory together with the values that are stored: `python -m bench memory` shows what
    that saves.
    """
    if len(rows) <= LOADED_ONCE:
        yield rows, {row.existing["id"]: row.existing for row in rows if row.existing is not None}
        return
    columns = _columns_to_compare(resource, tables, None)
    names = [column.key for column in columns]
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        ids = {row.existing["id"] for row in batch if row.existing is not None}
        loaded = _select(resource, columns, resource.model.__table__.c.id, ids)
        stored = {values["id"]: values for values in (dict(zip(names, row, strict=True)) for row in loaded)}
        for row in batch:
            if row.existing is not None and row.existing["id"] not in stored:
                # Deleted since it was matched.
                add_missing_error(resource, row, row.existing["id"])
                row.existing = None
        yield batch, stored


def columns_to_match(
    resource: Resource, tables: Sequence[Table], match: str | None, row_count: int
) -> Sequence[sa.Column[Any]]:
    """The columns of stored objects that matching rows and checking them against others need; of few rows, all."""
    if row_count <= LOADED_ONCE:
        return _columns_to_compare(resource, tables, match)
    names = _names_to_match(resource, tables, match)
    return [column for column in resource.model.__table__.columns if column.key in names]


def _columns_to_compare(resource: Resource, tables: Sequence[Table], match: str | None) -> Sequence[sa.Column[Any]]:
    """The columns with all values that rows may change."""
    model = resource.model
    names = _names_to_match(resource, tables, match)
    names.update(column.field.name for table in tables for column in table.columns if column.field is not None)
    if has_rule(model) or _overrides(model, "implied"):
        names.update(column.key for column in model.__table__.columns)
    if "attributes" in resource.fields:
        names.add("attributes")
    return [column for column in model.__table__.columns if column.key in names]


def _names_to_match(resource: Resource, tables: Sequence[Table], match: str | None) -> set[str]:
    """The columns of stored objects that matching and the checks against other rows need."""
    model = resource.model
    names = {"id", "version", "created_by_id", model.label}
    if match in resource.fields:
        names.add(match)
    for table in tables:
        names.update(item.name for item in table.match_fields())
        if any(target.startswith(ATTRIBUTE_PREFIX) for target in table.settings.match):
            names.add("attributes")
    names.update(item.name for item in resource.references.values() if item.parent)
    names.update(resource.identifiers)
    names.update(name for key in (*resource.natural_key, resource.recognised_by, resource.name_key) for name in key)
    names.update(name for fields, _ in index_rules(model) for name in fields)
    names.update(name for rule in model.rarely_shared for name in rule.fields)
    names.update(name for rule in member_rules(model) for name in (rule.field, *rule.own))
    return names


def load(
    resource: Resource, columns: Columns, by: sa.ColumnElement[Any], values: Iterable[Any]
) -> list[dict[str, Any]]:
    """The visible objects that have one of these values in a column or an expression."""
    names = [column.key for column in columns]
    new_object = dict_factory(names)
    objects: list[dict[str, Any]] = []
    for row in _select(resource, columns, by, values):
        stored = new_object()
        for name, value in zip(names, row, strict=True):
            stored[name] = value
        objects.append(stored)
    return objects


def _select(
    resource: Resource, columns: Columns, by: sa.ColumnElement[Any], values: Iterable[Any]
) -> Iterator[Sequence[Any]]:
    keys = list(values)
    for start in range(0, len(keys), MAX_LOADED):
        has_key = any_of(by, keys[start : start + MAX_LOADED])
        yield from fetch_rows(sa.select(*columns).where(has_key, *visible(resource.model)))


def batches(rows: Sequence[ParsedRow]) -> Iterator[Sequence[ParsedRow]]:
    """The rows in parts that are matched one after the other."""
    return (rows[start : start + ROWS_TO_MATCH] for start in range(0, len(rows), ROWS_TO_MATCH))


def share_values(row: ParsedRow, stored: dict[str, Any]) -> None:
    """Keep the texts that a row and an object have in common once: most of them where a file is imported again."""
    values = row.values
    for name, value in stored.items():
        if value.__class__ is str and values.get(name) == value:
            stored[name] = values[name]


def has_rule(model: type[Entity]) -> bool:
    """Whether a model validates an object as a whole; the rule may read any of its values."""
    return _overrides(model, "validate") or bool(model.checks)


def _overrides(model: type[Entity], method: str) -> bool:
    return getattr(model, method).__func__ is not getattr(Entity, method).__func__


def add_missing_error(resource: Resource, row: ParsedRow, object_id: int | None) -> None:
    """Add the error of a row whose object is not stored."""
    message = tr("There is no {what} {object_id}.", what=singular(resource), object_id=object_id)
    row.add_error("id", "identity", message)
