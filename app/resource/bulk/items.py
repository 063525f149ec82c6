"""Many writes in one request: each item gets what it would have got alone, in few statements.

References and unique values are looked up for all items at once. What only the database detects (a race, a constraint
of another table) fails the whole set, which is then halved inside of savepoints until the failing items are alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, ValidationError
from sqlalchemy.exc import IntegrityError

from app.core.audit import recorder
from app.core.db.errors import from_database
from app.core.db.rules import unique_rules
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import ApiError, Forbidden, Invalid, NotFound, dotted, taken
from app.core.http.access import current_actor
from app.core.values import MAX_ID, as_json, same_json
from app.resource.bulk import writer
from app.resource.cascade import Removal, count_referring, has_children, removal_of, remove
from app.resource.changes import changed_values
from app.resource.declaration import Resource
from app.resource.fields import defaults_of
from app.resource.parents import closed_parents, parents_in, refusal
from app.resource.projection import visible
from app.resource.query.list_query import ListQuery
from app.resource.query.select import conditions_of, narrowed
from app.resource.service import may_change, shared, singular
from app.resource.uniqueness import Key, key_of, shared_key, shared_with, taken_keys

Row = dict[str, Any]


@dataclass(slots=True, eq=False)
class Item:
    """One submitted item: the id of its object, the values sent, and its error, if any.

    `row` is the stored object that an update changes.
    """

    object_id: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    error: ApiError | None = None
    row: Row | None = None

    def load(self, schema: Schema, values: Mapping[str, Any]) -> None:
        """Validate what is sent, like the body of a request of its own."""
        try:
            self.values = schema.load(values)
        except ValidationError as error:
            self.error = Invalid(errors=dotted(error.messages))

    @property
    def changes(self) -> recorder.Changes:
        """What an update changes, as its audit record says it."""
        row = self.row or {}
        # What is no column, a password, is as secret as what is stored of it.
        secret = {name: {"old": None, "new": "changed"} for name in self.values if name not in row}
        changed = _changed(row, self.values)
        return secret | {name: {"old": as_json(row[name]), "new": as_json(new)} for name, new in changed.items()}

    def merge(self, resource: Resource, stored: Mapping[str, Any]) -> None:
        """Turn what is sent into the values of columns, given those of the object before."""
        try:
            self.values = changed_values(resource, stored, self.values)
        except Invalid as error:
            self.error = error


def create(resource: Resource, items: Sequence[Item], query: Mapping[str, bool]) -> None:
    """Store a new object for each item that has no error yet; an item that fails keeps its error."""
    nothing = dict.fromkeys(column.key for column in resource.model.__table__.columns)
    for item in _valid(items):
        item.merge(resource, defaults_of(resource.model))
    _check_parents(resource, dict.fromkeys(_valid(items), nothing))
    merged = {item: {**nothing, **item.values} for item in _valid(items)}
    _check(resource, merged, creating=True)
    _check_shared(resource, merged, query)
    owner = current_actor().id

    def store(some: Sequence[Item]) -> None:
        if not resource.model.orm_only:
            ids = writer.allocate_ids(resource, len(some))
            writer.insert(resource, ids, [item.values for item in some], owner)
            for item, identity in zip(some, ids, strict=True):
                item.object_id = identity
            return
        targets = [resource.model(**item.values, created_by_id=owner) for item in some]
        db.session.add_all(targets)
        db.session.flush()
        for item, target in zip(some, targets, strict=True):
            item.object_id = target.id

    _store_or_halve(_valid(items), store)
    for item in items:
        # A savepoint that was rolled back took the number with it.
        item.object_id = item.object_id if item.error is None else None


def update(resource: Resource, items: Sequence[Item], query: Mapping[str, bool]) -> None:
    """Change the object of each item that has no error yet; an item that fails keeps its error."""
    found = _find(resource, items)
    for item, row in found.items():
        item.row = row
        item.merge(resource, row)
    _check_parents(resource, found)
    merged = {item: {**found[item], **item.values} for item in _valid(items)}
    _check(resource, merged, creating=False)
    _check_shared(resource, merged, query)

    def store(some: Sequence[Item]) -> None:
        if not resource.model.orm_only:
            changes = [_change(resource, found[item], item.values) for item in some]
            writer.update(resource.model, [change for change in changes if change.new])
            return
        targets = _loaded(resource, some)
        for item in some:
            for name, value in item.values.items():
                setattr(targets[item.object_id], name, value)
        db.session.flush()

    _store_or_halve(_in_order(items), store)


def delete(resource: Resource, items: Sequence[Item], *, cascade: bool) -> list[Removal]:
    """Delete the object of each item that has no error yet; answers all that went."""
    _find(resource, items)
    if not cascade:
        blocked = count_referring(resource.model, {item.object_id for item in _valid(items) if item.object_id})
        for item in _valid(items):
            if children := blocked.get(item.object_id or 0):
                item.error = has_children(children)
    removals: list[Removal] = []

    def store(some: Sequence[Item]) -> None:
        targets = list(_loaded(resource, some).values())
        removal = removal_of(targets, cascade=cascade)
        remove(targets, removal)
        removals.append(removal)

    _store_or_halve(_in_order(items), store)
    return removals


def lock_matching(resource: Resource, query: ListQuery, most: int) -> list[int]:
    """The ids of the objects that match and that the acting user sees, at most so many, locked in their order."""
    query = narrowed(resource, query)
    identity = resource.model.__table__.c.id
    matching = sa.select(identity).where(*conditions_of(resource, query.matching)).order_by(identity).limit(most)
    return list(db.session.scalars(matching.with_for_update(), query.values))


def _valid(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.error is None]


def _in_order(items: Sequence[Item]) -> list[Item]:
    """Those without an error by their ids, so that two requests about the same objects do not lock in a circle."""
    return sorted(_valid(items), key=lambda item: item.object_id or 0)


def _store_or_halve(items: Sequence[Item], store: Callable[[Sequence[Item]], None]) -> None:
    """Store all of the items; on failure halve them until the failing ones are alone."""
    if not items:
        return
    try:
        with db.session.begin_nested():
            store(items)
    except (IntegrityError, ApiError) as error:
        if len(items) == 1:
            items[0].error = from_database(error) if isinstance(error, IntegrityError) else error
            return
        middle = len(items) // 2
        _store_or_halve(items[:middle], store)
        _store_or_halve(items[middle:], store)


def _find(resource: Resource, items: Sequence[Item]) -> dict[Item, Row]:
    """Lock the items' rows; sets the error of an item whose object is missing, protected or named before."""
    table = resource.model.__table__
    wanted = [item.object_id for item in _valid(items) if item.object_id is not None and item.object_id <= MAX_ID]
    these = sa.select(table).where(any_of(table.c.id, wanted), *visible(resource.model)).order_by(table.c.id)
    rows = {row["id"]: dict(row) for row in db.session.execute(these.with_for_update()).mappings()}
    actor = current_actor()
    found: dict[Item, Row] = {}
    seen: set[int | None] = set()
    for item in _valid(items):
        row = rows.get(item.object_id)
        if row is None:
            item.error = NotFound(f"There is no {singular(resource)} {item.object_id}.")
        elif item.object_id in seen:
            item.error = Invalid(errors={"id": ["An item before is about the same object."]})
        elif not may_change(resource, actor, row["created_by_id"]):
            item.error = Forbidden("Only its creator and administrators may change this object.", reason="not_owner")
        else:
            found[item] = row
        seen.add(item.object_id)
    return found


def _check_parents(resource: Resource, before: Mapping[Item, Row]) -> None:
    """Refuse the items that would come below somebody else's object; `before` are their stored values."""
    wanted = [(item, parent) for item, row in before.items() for parent in parents_in(resource, item.values, row)]
    for item, parent in closed_parents(resource, current_actor(), wanted):
        item.error = refusal(resource, parent)


def _change(resource: Resource, row: Row, values: Mapping[str, Any]) -> writer.Change:
    new = _changed(row, values)
    label = str({**row, **new}[resource.model.label])
    return writer.Change(row["id"], row["version"], label, old={name: row[name] for name in new}, new=new)


def _changed(row: Row, values: Mapping[str, Any]) -> Row:
    """What of the values differs from the row."""
    return {
        name: value
        for name, value in values.items()
        if name in row and not same_json(as_json(value), as_json(row[name]))
    }


def _loaded(resource: Resource, items: Sequence[Item]) -> dict[int | None, Any]:
    """The items' objects as the session knows them, read anew: a savepoint leaves ones that are neither old nor new."""
    identity = resource.model.__table__.c.id
    these = sa.select(resource.model).where(any_of(identity, [item.object_id for item in items])).order_by(identity)
    return {target.id: target for target in db.session.scalars(these, execution_options={"populate_existing": True})}


def _check(resource: Resource, merged: Mapping[Item, dict[str, Any]], *, creating: bool) -> None:
    """Set the errors that can be found without writing: rules, references, unique values."""
    for item, values in merged.items():
        if flaws := resource.model.validate(values):
            item.error = Invalid(errors=flaws)
    _check_references(resource, merged)
    for fields, folded in unique_rules(resource.model.__table__):
        of_rule = {
            item: values
            for item, values in merged.items()
            if item.error is None and (creating or not set(fields).isdisjoint(item.values))
        }
        _check_unique(resource, of_rule, fields, folded)


def _check_references(resource: Resource, merged: Mapping[Item, dict[str, Any]]) -> None:
    for reference in resource.references.values():
        assert reference.target is not None
        sent = {item.values.get(reference.name) for item in merged} - {None}
        if not sent:
            continue
        target = reference.target.__table__
        there = set(db.session.scalars(sa.select(target.c.id).where(any_of(target.c.id, sent))))
        for item in merged:
            identity = item.values.get(reference.name)
            if identity is not None and identity not in there and item.error is None:
                message = f"There is no {reference.title.lower()} {as_json(identity)}."
                item.error = Invalid(errors={reference.name: [message]})


def _check_unique(
    resource: Resource, merged: Mapping[Item, dict[str, Any]], fields: tuple[str, ...], folded: tuple[str, ...]
) -> None:
    keys: dict[Item, Key] = {}
    for item, values in merged.items():
        key = key_of([values[name] for name in fields], fields, folded)
        if key is not None:
            keys[item] = key
    stored = taken_keys(resource, set(keys.values()), fields, folded)
    ours = {item.object_id for item in keys}
    seen: set[Any] = set()
    for item, key in keys.items():
        holder = stored.get(key)
        # One of these objects may be about to give the value up: the database will know.
        if key in seen or (holder is not None and holder not in ours):
            item.error = taken(fields[-1])
        seen.add(key)


def _check_shared(resource: Resource, merged: Mapping[Item, dict[str, Any]], query: Mapping[str, bool]) -> None:
    """Set the error of each item that breaks a soft rule which the query of the request enforces."""
    for rule in resource.model.rarely_shared:
        if not query[rule.name]:
            continue
        checked = {item: values for item, values in merged.items() if item.error is None}
        keys = {item: shared_key(rule, resource.model, values) for item, values in checked.items()}
        ours = {item.object_id for item in checked}
        stored = shared_with(resource, rule, {key for key in keys.values() if key}, ours)
        seen: set[Key] = set()
        for item, key in keys.items():
            if key in stored:
                item.error = shared(rule, f"{singular(resource).capitalize()} {stored[key]}")
            elif key in seen:
                item.error = shared(rule, "An item before")
            elif key is not None:
                seen.add(key)
