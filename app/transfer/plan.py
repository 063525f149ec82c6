"""What an import would do: each row matched with its object, compared with it, and checked against all others.

Nothing here asks the database once per row: names, keys and objects are looked up for a whole table at a time.
"""

import difflib
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa

from app.core.database import Entity, any_of, db, unique_fields
from app.core.security import Actor
from app.resource.declaration import Resource
from app.resource.fields import Field, Kind
from app.resource.service import may_change, singular
from app.transfer.drafts import Draft
from app.transfer.layout import Table
from app.transfer.meeting import Planned, meet, number_by_name
from app.transfer.models import Action, Mode
from app.transfer.since import refuse_overwriting

Key = tuple[Any, ...]

_QUALIFIED = re.compile(r"(.+) \[#(\d{1,18})\]")

MAX_SUGGESTIONS_FROM = 5000
"""Names among which a misspelt one is looked for: comparing it with all of a large fleet takes seconds."""


class Planner:
    """Plans the tables of one file, one after the other, those that are referred to first."""

    def __init__(self, actor: Actor, mode: Mode, match: str | None) -> None:
        self.actor = actor
        self.mode = mode
        self.match = match
        self._named: dict[str, dict[str, list[Draft]]] = defaultdict(lambda: defaultdict(list))

    def plan(self, planned: Sequence[Planned]) -> None:
        """Decide what becomes of each draft of one resource's tables, noting every mistake in it."""
        for table, drafts in planned:
            for item in table.resource.references.values():
                if table.column_of(item.name) is not None:
                    self._resolve(table, item, drafts)
            number_by_name(table.resource, drafts)
        meet(planned)
        resource = planned[0][0].resource
        everything = list(chain.from_iterable(drafts for _, drafts in planned))
        drafts = [draft for draft in everything if draft.completes is None]
        self._find_existing([table for table, _ in planned], drafts)
        for draft in drafts:
            self._compare(resource, draft)
        refuse_overwriting(resource, drafts)
        for fields, folded in unique_fields(resource.model.__table__):
            _check_unique(resource, drafts, fields, folded)
        self._remember(resource, drafts)
        for draft in everything:
            if draft.completes is not None:
                _follow(draft, draft.completes)

    def _remember(self, resource: Resource, drafts: Sequence[Draft]) -> None:
        """Settle what is wrong, and know the names for the rows that refer to them."""
        named = self._named[resource.name]
        for draft in drafts:
            if draft.errors:
                draft.action = Action.ERROR
            name = draft.values.get(resource.model.label)
            if isinstance(name, str):
                named[name.lower()].append(draft)

    def _resolve(self, table: Table, item: Field, drafts: Sequence[Draft]) -> None:
        """Replace the names in a reference's cells by what they name: rows of this file first, then objects."""
        assert item.target is not None
        in_file = self._named.get(item.target.__tablename__, {})
        names = {draft.values[item.name].lower() for draft in drafts if draft.values.get(item.name)}
        wanted = {*names, *(found[1] for found in map(_QUALIFIED.fullmatch, names) if found)}
        stored = _stored_names(item.target, wanted)
        advice: dict[str, str | None] = {}
        for draft in drafts:
            name = draft.values.get(item.name)
            if name is None:
                continue
            rows = in_file.get(name.lower(), [])
            wrong = next((row for row in rows if row.errors), None)
            found = {row.target: None for row in rows} or dict.fromkeys(_ids_of(name.lower(), stored))
            if wrong is not None:
                draft.fail(
                    item.name,
                    "reference",
                    f"Row {wrong.row} of {wrong.table.sheet.name}, which it refers to, has mistakes.",
                )
            elif len(found) == 1:
                draft.values[item.name] = next(iter(found))
            elif found:
                draft.fail(item.name, "ambiguous", f"There are {len(found)} objects called {name}.")
            else:
                if name not in advice:
                    advice[name] = _nearest(name, item.target, in_file)
                one = item.title.lower()
                draft.fail(item.name, "reference", f"There is no {one} called {name}.", advice[name])

    def _find_existing(self, tables: Sequence[Table], drafts: Sequence[Draft]) -> None:
        resource = tables[0].resource
        columns = _columns_to_load(tables)
        if any(draft.identity for draft in drafts):
            self._find_by_identity(resource, drafts, columns)
        keys = [(self.match,)] if self.match in resource.fields else resource.natural_key
        for key in keys:
            assert all(key)
            _find_by_key(resource, [draft for draft in drafts if _may_match(draft)], key, columns)
        seen: dict[int, Draft] = {}
        for draft in drafts:
            if draft.object_id is None:
                continue
            first = seen.setdefault(draft.object_id, draft)
            if first is not draft:
                _fail_as_duplicate(draft, first, resource.natural_key[-1][-1])

    def _find_by_identity(self, resource: Resource, drafts: Sequence[Draft], columns: Sequence[sa.Column[Any]]) -> None:
        rows = _load(columns, resource.model.__table__.c.id, {d.identity for d in drafts if d.identity})
        found = {row["id"]: row for row in rows}
        for draft in drafts:
            if draft.identity is None:
                continue
            draft.existing = found.get(draft.identity)
            if draft.existing is None:
                draft.fail("id", "identity", f"There is no {singular(resource)} {draft.identity}.")

    def _compare(self, resource: Resource, draft: Draft) -> None:
        """Find out what would change, and what speaks against it."""
        if draft.existing is None:
            self._plan_creation(resource, draft)
        else:
            self._plan_change(resource, draft)
        if not draft.errors and _has_rule(resource.model):
            for name, messages in resource.model.flaws(merged(resource, draft)).items():
                for message in messages:
                    draft.fail(name, "whole", message)

    def _plan_creation(self, resource: Resource, draft: Draft) -> None:
        draft.action = Action.CREATE
        one = singular(resource)
        if self.mode is Mode.UPDATE:
            draft.fail(None, "missing", f"There is no such {one}, and this import only changes what there is.")
        if not self.actor.role.covers(resource.write):
            draft.fail(None, "forbidden", f"You are not allowed to create a {one}.")
        wrong = {error["field"] for error in draft.errors}
        for item in resource.fields.values():
            if item.required and draft.values.get(item.name) is None and item.name not in wrong:
                draft.fail(item.name, "required", f"{item.title} is required.")
        if draft.attributes:
            draft.values["attributes"] = {name: value for name, value in draft.attributes.items() if value is not None}

    def _plan_change(self, resource: Resource, draft: Draft) -> None:
        existing = draft.existing
        if draft.attributes:
            draft.take_from(existing["attributes"])
            attributes = {**existing["attributes"], **draft.attributes}
            cleared = {name for name, value in draft.attributes.items() if value is None}
            draft.values["attributes"] = {name: value for name, value in attributes.items() if name not in cleared}
        changed = {name: value for name, value in draft.values.items() if existing[name] != value}
        label = resource.model.label
        if not changed:
            # The name stays known to the rows that refer to this one.
            draft.values = {label: existing[label]} if label in existing else {}
            draft.action = Action.UNCHANGED
            return
        draft.action = Action.UPDATE
        draft.old = {name: existing[name] for name in changed}
        if self.mode is Mode.CREATE:
            draft.fail(None, "exists", f"This {singular(resource)} exists, and this import only creates.")
        if not may_change(resource, self.actor, existing["created_by_id"]):
            draft.fail(None, "not_owner", "Only its creator and administrators may change this object.")
        draft.values = {label: existing.get(label), **changed} if label in existing else changed


def _follow(draft: Draft, first: Draft) -> None:
    """A row that completes another has no object of its own, and is wrong where the other is."""
    if first.errors and not draft.errors:
        draft.fail(None, "reference", f"It completes row {first.row} of {first.table.sheet.name}, which has mistakes.")
    draft.existing = first.existing
    draft.action = Action.ERROR if draft.errors else Action.UNCHANGED


def changes_of(draft: Draft) -> dict[str, Any]:
    """The fields that the draft sets: all that it fills of a new object, what differs of an existing one."""
    if draft.existing is None:
        return draft.values
    return {name: draft.values[name] for name in draft.old}


def merged(resource: Resource, draft: Draft) -> dict[str, Any]:
    """The object as it would be, as far as it was loaded."""
    base = defaults_of(resource.model) if draft.existing is None else draft.existing
    return {**base, **draft.values}


@functools.cache
def defaults_of(model: Any) -> dict[str, Any]:
    """What a new object has where nothing is said."""
    values: dict[str, Any] = {}
    for column in model.__table__.columns:
        default: Any = column.default
        values[column.key] = None
        if default is not None:
            values[column.key] = default.arg(None) if default.is_callable else default.arg
    return values


def taken_keys(
    resource: Resource, wanted: Iterable[Key], fields: Sequence[str], folded: Sequence[str]
) -> dict[Key, int]:
    """Which of these combinations of a uniqueness rule's fields are stored already, and by which object."""
    table = resource.model.__table__
    keys = set(wanted)
    # Narrowed by the most telling field; the combinations are compared here.
    narrow = max(range(len(fields)), key=lambda at: len({key[at] for key in keys if key[at] is not None}))
    values = {key[narrow] for key in keys if isinstance(key[narrow], str | int)}
    if not values:
        return {}
    column = table.c[fields[narrow]]
    condition = any_of(sa.func.lower(column) if fields[narrow] in folded else column, values)
    statement = sa.select(table.c.id, *(table.c[name] for name in fields)).where(condition)
    found: dict[Key, int] = {}
    for identity, *parts in db.session.execute(statement):
        key = tuple(_fold(part) if name in folded else part for name, part in zip(fields, parts, strict=True))
        if key in keys:
            found[key] = identity
    return found


def _check_unique(resource: Resource, drafts: Sequence[Draft], fields: Sequence[str], folded: Sequence[str]) -> None:
    """Refuse what two rows of the file, or a row and a stored object, would both call theirs."""
    seen: dict[Key, Draft] = {}
    asked: dict[Key, Draft] = {}
    for draft in drafts:
        wrong = {error["field"] for error in draft.errors}
        if not wrong.isdisjoint(fields) or not any(name in draft.values for name in fields):
            continue
        key = key_in(merged(resource, draft), fields, folded)
        if key is None:
            continue
        first = seen.setdefault(key, draft)
        if first is not draft:
            _fail_as_duplicate(draft, first, fields[-1])
        elif draft.existing is None or any(name in draft.old for name in fields):
            asked[key] = draft
    if not asked:
        return
    for key, identity in taken_keys(resource, asked, fields, folded).items():
        if identity != asked[key].object_id:
            title = resource.fields[fields[-1]].title
            message = f"Another {singular(resource)} ({identity}) has this {title} already."
            asked[key].fail(fields[-1], "taken", message)


def key_in(values: Mapping[str, Any], fields: Sequence[str], folded: Sequence[str]) -> Key | None:
    """The values of a uniqueness rule's fields, or None where the rule does not apply to them."""
    key = tuple(_fold(values[name]) if name in folded else values[name] for name in fields)
    if any(part is None for part in key) and not folded:
        return None
    return key


def _fail_as_duplicate(draft: Draft, first: Draft, name: str) -> None:
    where = "" if first.table is draft.table else f" of {first.table.sheet.name}"
    draft.fail(name, "duplicate", f"Row {first.row}{where} describes the same {singular(draft.table.resource)}.")


def _may_match(draft: Draft) -> bool:
    return draft.existing is None and draft.identity is None


def _find_by_key(
    resource: Resource, drafts: Sequence[Draft], key: tuple[str, ...], columns: Sequence[sa.Column[Any]]
) -> None:
    """Match drafts with the objects that have the same values in the key's fields, in one statement."""
    *parents, last = key
    table = resource.model.__table__
    with_key = [draft for draft in drafts if draft.values.get(last) is not None]
    if not with_key:
        return
    if resource.fields[last].kind is Kind.TEXT:
        names = {_fold(draft.values[last]) for draft in with_key}
        rows = _load(columns, sa.func.lower(table.c[last]), names)
    else:
        ids = {draft.values.get(parents[0]) for draft in with_key}
        rows = _load(columns, table.c[parents[0]], {identity for identity in ids if isinstance(identity, int)})
    exact: dict[Key, Any] = {}
    by_last: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        exact[(*(row[name] for name in parents), _fold(row[last]))] = row
        by_last[_fold(row[last])].append(row)
    for draft in with_key:
        above = tuple(draft.values.get(name) for name in parents)
        own = _fold(draft.values[last])
        draft.existing = exact.get((*above, own))
        # Where the row does not say whose it is, its name alone may be enough.
        if draft.existing is None and not any(above) and not any(name in draft.names for name in parents):
            alike = by_last.get(own, [])
            if len(alike) == 1:
                draft.existing = alike[0]
            elif alike:
                draft.fail(
                    last,
                    "ambiguous",
                    f"{len(alike)} objects are called {draft.values[last]}: say where it is.",
                )


def _has_rule(model: type[Entity]) -> bool:
    """Whether a model says what is wrong with an object as a whole; it may look at any of its values."""
    return getattr(model.flaws, "__func__", None) is not getattr(Entity.flaws, "__func__", None)


def _columns_to_load(tables: Sequence[Table]) -> list[sa.Column[Any]]:
    """What must be known of stored objects to match, compare and check them."""
    resource = tables[0].resource
    model = resource.model
    names = {"id", "version", "created_by_id", model.label}
    names.update(column.field.name for table in tables for column in table.columns if column.field is not None)
    names.update(name for key in resource.natural_key for name in key)
    names.update(name for fields, _ in unique_fields(model.__table__) for name in fields)
    if "attributes" in resource.fields:
        names.add("attributes")
    if _has_rule(model):
        names.update(column.key for column in model.__table__.columns)
    return [column for column in model.__table__.columns if column.key in names]


def _load(columns: Sequence[sa.Column[Any]], by: sa.ColumnElement[Any], values: Iterable[Any]) -> Any:
    wanted = list(values)
    if not wanted:
        return []
    names = [column.key for column in columns]
    rows = db.session.execute(sa.select(*columns).where(any_of(by, wanted)))
    return [dict(zip(names, row, strict=True)) for row in rows]


def _stored_names(target: type[Entity], folded: set[str]) -> dict[str, list[int]]:
    """The ids of the stored objects that have one of these names, by name in lower case."""
    if not folded:
        return {}
    table = target.__table__
    name = sa.func.lower(table.c[target.label])
    found: dict[str, list[int]] = defaultdict(list)
    for identity, label in db.session.execute(sa.select(table.c.id, name).where(any_of(name, folded))):
        found[label].append(identity)
    return found


def _ids_of(name: str, stored: Mapping[str, list[int]]) -> Sequence[int]:
    """The ids of the objects that a reference means, be it by name or, as an export writes it, by name and id."""
    if name in stored:
        return stored[name]
    found = _QUALIFIED.fullmatch(name)
    return [int(found[2])] if found and int(found[2]) in stored.get(found[1], ()) else []


def _nearest(name: str, target: type[Entity], in_file: Mapping[str, list[Draft]]) -> str | None:
    """The existing name that a wrong one probably misspells."""
    column = target.__table__.c[target.label]
    stored = db.session.scalars(sa.select(column).limit(MAX_SUGGESTIONS_FROM)).all()
    known = {label.lower(): label for label in stored}
    for folded, drafts in list(in_file.items())[:MAX_SUGGESTIONS_FROM]:
        known[folded] = drafts[0].values[drafts[0].table.resource.model.label]
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    return known[near[0]] if near else None


def _fold(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
