"""Plan what an import does with each row: match it with its object, compare the values, check it against all others.

Nothing here asks the database once per row: names, keys and objects are looked up for a whole table at a time.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any

from app.catalog import CATALOG
from app.core.errors import NotOwner
from app.core.http.access import Actor
from app.core.messages import tr
from app.core.values import fold, same_json
from app.imports.map.columns import ColumnUse
from app.imports.models import ImportMode, RowAction
from app.imports.parse.rows import ParsedRow, ParsedTable
from app.imports.parse.set_values import fill_fallbacks
from app.imports.plan.existing import find_existing
from app.imports.plan.merge_rows import copy_decision, merge_rows
from app.imports.plan.missing import MissingObjects, may_create
from app.imports.plan.references import RowsByName, check_attribute_references, forget_foreign_ids, resolve_references
from app.imports.plan.stored_objects import has_rule, load_to_compare
from app.imports.plan.three_way_merge import check_three_way_merge
from app.imports.plan.uniqueness import check_unique, warn_shared
from app.resource import Field, Kind, Resource, plural, singular
from app.resource.fields import defaults_of
from app.resource.json_fields import limit_error, merge_attributes
from app.resource.service import closed_parent_error, closed_parents, may_change, parents_in

JSON_KINDS = frozenset({Kind.LIST, Kind.OBJECTS, Kind.ATTRIBUTES})
_NUMBERED_NAME = re.compile(r"(?P<parent>.+)[:/#](?P<number>\d{1,4})")


@dataclass(slots=True)
class Planner:
    """Plans the tables of one file, those of a resource together, in the order of the catalog.

    `mode` and `match` are those of the upload; `_rows_of` holds the planned rows by the name of their resource.
    """

    actor: Actor
    mode: ImportMode
    match: str | None
    create_missing: Sequence[str] = ()
    _rows_of: dict[str, Sequence[ParsedRow]] = field(default_factory=dict)
    _rows_named: dict[str, RowsByName] = field(default_factory=dict)

    _missing: dict[str, MissingObjects] = field(default_factory=dict)

    def plan(self, tables: Sequence[ParsedTable], advance: Callable[[int], None]) -> list[ParsedTable]:
        """Decide what each row does, and add every error that speaks against it.

        `advance` is called with the number of rows of each batch. Returns the tables, each after those that its rows
        refer to, with one for the missing objects of a resource.
        """
        for _, alike in groupby(tables, key=lambda parsed: parsed.table.resource.name):
            self._plan_resource(list(alike), advance)
        return self._with_missing(tables) if self._missing else list(tables)

    def _plan_resource(self, tables: Sequence[ParsedTable], advance: Callable[[int], None]) -> None:
        resource = tables[0].table.resource
        for parsed in tables:
            forget_foreign_ids(parsed)
            self._resolve_references(parsed)
            _number_by_name(parsed)
        if any(column.use is ColumnUse.ATTRIBUTE for parsed in tables for column in parsed.table.columns):
            check_attribute_references(tables, self._named)
        if len(tables) > 1:
            merge_rows(tables)
        all_rows = list(chain.from_iterable(parsed.rows for parsed in tables))
        rows = [row for row in all_rows if row.merged_into is None]
        find_existing(resource, [parsed.table for parsed in tables], rows, self.match)
        for batch, stored in load_to_compare(resource, [parsed.table for parsed in tables], rows):
            self._compare(resource, batch, stored)
            advance(len(batch))
        self._check_parents(resource, rows)
        stale = [row for row in rows if row.old and row.exported_version not in (None, row.existing["version"])]
        if stale:
            check_three_way_merge(resource, stale)
        check_unique(resource, rows)
        warn_shared(resource, rows)
        for row in rows:
            if row.errors:
                row.action = RowAction.ERROR
        advance(len(all_rows) - len(rows))
        self._rows_of[resource.name] = rows
        for row in all_rows:
            if row.merged_into is not None:
                copy_decision(row, row.merged_into)

    def _resolve_references(self, parsed: ParsedTable) -> None:
        for item in parsed.table.resource.references.values():
            if parsed.table.column_of(item.name) is not None:
                assert item.target is not None
                target = item.target.__tablename__
                resolve_references(item, parsed.rows, self._named(target), self._missing_of(target))

    def _missing_of(self, name: str) -> MissingObjects | None:
        """The missing objects of a resource that the import creates; None if it creates none."""
        if name not in self.create_missing or self.mode is ImportMode.UPDATE:
            return None
        if not may_create(CATALOG[name], self.actor.role):
            return None
        if name not in self._missing:
            self._missing[name] = MissingObjects(CATALOG[name])
        return self._missing[name]

    def _with_missing(self, tables: Sequence[ParsedTable]) -> list[ParsedTable]:
        """The tables with those of missing objects that rows without errors need, in the order of the catalog."""
        needed = {
            id(value)
            for parsed in tables
            for row in parsed.rows
            if not row.errors
            for value in row.values.values()
            if isinstance(value, ParsedRow)
        }
        for objects in self._missing.values():
            objects.keep_only(needed)
        created = [objects.parsed for objects in self._missing.values() if objects.parsed.rows]
        order = list(CATALOG)
        return sorted([*created, *tables], key=lambda parsed: order.index(parsed.table.resource.name))

    def _named(self, resource: str) -> RowsByName:
        """The planned rows of a resource by the folded name of their object; built when a reference first needs it."""
        if resource not in self._rows_named and resource in self._rows_of:
            named: dict[str, list[ParsedRow]] = defaultdict(list)
            for row in self._rows_of[resource]:
                label = row.values.get(row.table.resource.model.label)
                if isinstance(label, str):
                    named[fold(label)].append(row)
            self._rows_named[resource] = named
        return self._rows_named.get(resource, {})

    def _compare(self, resource: Resource, rows: Sequence[ParsedRow], stored: Mapping[int, Mapping[str, Any]]) -> None:
        """Plan rows; `stored` has the objects of those that change one, by id."""
        required = [item for item in resource.fields.values() if item.required]
        # Columns have types, so 1 and true, which Python finds equal, may meet only inside of JSON.
        json_fields = [item.name for item in resource.fields.values() if item.kind in JSON_KINDS]
        validated, defaults = has_rule(resource.model), defaults_of(resource.model)
        for row in rows:
            if row.existing is None:
                existing: Mapping[str, Any] = defaults
                self._plan_creation(resource, row, required)
            else:
                existing = stored[row.existing["id"]]
                self._plan_update(resource, row, existing, json_fields)
            # What is stored was valid when it was written.
            if validated and row.action is not RowAction.UNCHANGED and not row.errors:
                for name, messages in resource.model.validate({**existing, **row.values}).items():
                    for message in messages:
                        row.add_error(name, "whole", message)

    def _check_parents(self, resource: Resource, rows: Sequence[ParsedRow]) -> None:
        """Add an error to each row that would bring its object below somebody else's.

        A parent that the file itself creates is a row, and belongs to the user who imports it.
        """
        if self.actor.is_admin:
            return
        added = [
            (row, parent)
            for row in rows
            for parent in parents_in(resource, row.values, row.existing or {})
            if isinstance(parent[1], int)
        ]
        for row, parent in closed_parents(resource, self.actor, added):
            row.add_error(parent[0], "not_owner", closed_parent_error(resource, parent).message)

    def _plan_creation(self, resource: Resource, row: ParsedRow, required: Sequence[Field]) -> None:
        row.action = RowAction.CREATE
        if self.mode is ImportMode.UPDATE:
            message = tr(
                "There is no such {what}, and this import creates none: import with mode=upsert to create it.",
                what=singular(resource),
            )
            row.add_error(None, "missing", message)
        if not self.actor.role.covers(resource.write):
            message = tr(
                "Only administrators create {resource}: ask one of them to import this row.", resource=plural(resource)
            )
            row.add_error(None, "forbidden", message)
        if row.table.settings.fallbacks:
            fill_fallbacks(row)
        values = row.values
        for item in required:
            name = item.name
            if values.get(name) is None and all(error["field"] != name for error in row.errors):
                message = tr(
                    "{field} is required: no column holds it. Set its column, a value for all rows, or a fallback.",
                    field=item.heading,
                )
                if row.table.column_of(name):
                    message = tr("{field} is required: fill in the cell.", field=item.heading)
                row.add_error(name, "required", message)
        if row.attributes:
            row.attributes = values["attributes"] = merge_attributes({}, row.attributes)

    def _plan_update(
        self, resource: Resource, row: ParsedRow, existing: Mapping[str, Any], json_fields: Sequence[str]
    ) -> None:
        # Both are read at two moments; what is compared is what is planned.
        if row.existing is not existing and not row.existing.items() <= existing.items():
            row.existing.update((name, existing[name]) for name in row.existing)
        if "attributes" in row.values:
            # The whole object is cleared: each attribute that it has.
            row.attributes = {**dict.fromkeys(existing["attributes"]), **row.attributes}
        if row.attributes:
            _merge_attributes(row, existing["attributes"])
        changed = {name: value for name, value in row.values.items() if existing[name] != value}
        for name in json_fields:
            if name in row.values and not same_json(existing[name], row.values[name]):
                changed[name] = row.values[name]
        label = resource.model.label
        if not changed:
            # Rows that refer to this one find it by its name.
            row.values = {label: existing[label]} if label in existing else {}
            row.action = RowAction.UNCHANGED
            return
        changed |= resource.model.implied(existing, changed)
        row.action = RowAction.UPDATE
        row.old = {name: existing[name] for name in changed}
        if self.mode is ImportMode.CREATE:
            message = tr(
                "This {what} exists, and this import changes none: import with mode=upsert to change it.",
                what=singular(resource),
            )
            row.add_error(None, "exists", message)
        if not may_change(resource, self.actor, existing["created_by_id"]):
            row.add_error(None, "not_owner", NotOwner.message)
        row.values = {label: existing.get(label), **changed} if label in existing else changed


def _number_by_name(parsed: ParsedTable) -> None:
    """Take the slot number from names such as `node-7:3`, where no column holds it.

    Applies to natural keys of a parent and a number; the name must begin with the parent's.
    """
    resource = parsed.table.resource
    for key in resource.natural_key:
        *parents, last = key
        if len(parents) != 1 or resource.fields[last].kind is not Kind.INTEGER or parsed.table.column_of(last):
            continue
        for row in parsed.rows:
            parent = row.reference_names.get(parents[0])
            if parent is None or last in row.values:
                continue
            texts = [value for value in row.attributes.values() if isinstance(value, str)]
            names = [match for match in map(_NUMBERED_NAME.fullmatch, texts) if match]
            numbers = {int(match["number"]) for match in names if fold(match["parent"]) == fold(parent)}
            if len(numbers) == 1:
                row.values[last] = numbers.pop()


def _merge_attributes(row: ParsedRow, stored: Mapping[str, Any]) -> None:
    """Set all attributes that the object is to have, if they differ from those that are stored."""
    _keep_stored_types(row, stored)
    if _are_stored(row.attributes, stored):
        row.values.pop("attributes", None)
        return
    row.values["attributes"] = merge_attributes(stored, row.attributes)
    if error := limit_error(row.values["attributes"]):
        row.add_error("attributes", "attributes", error)


def _are_stored(attributes: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether an object has these attributes already.

    A fast path that finds no booleans equal, because 1 equals true: 3 % of an import that changes nothing.
    """
    return attributes.items() <= stored.items() and bool not in map(type, chain(attributes.values(), stored.values()))


def _keep_stored_types(row: ParsedRow, stored: Mapping[str, Any]) -> None:
    """Keep stored attributes that delimited text writes alike: text has no types, `7` may be a number or a text."""
    if row.table.sheet.text is not None:
        for name, value in row.attributes.items():
            if value is not None and name in stored and _as_written(stored[name]) == _as_written(value):
                row.attributes[name] = stored[name]


def _as_written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
