"""Many writes in one request: each item gets what it would have got alone, in few statements.

References and unique values are looked up for all items at once. What only the database detects (a race, a constraint
of another table) fails the whole set, which is then halved inside of savepoints until the failing items are alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.core.db.errors import from_database
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import ApiError, Invalid, NotFound, NotOwner
from app.core.http.access import current_actor
from app.core.messages import tr
from app.core.values import MAX_ID
from app.resource.bulk import writer
from app.resource.bulk.checks import check, check_parents, check_sent_back, check_shared
from app.resource.bulk.item import Item, Row, valid
from app.resource.cascade import Removal, count_referring, has_children, removal_of, remove
from app.resource.declaration import Resource
from app.resource.fields import defaults_of
from app.resource.query.list_query import ListQuery
from app.resource.query.matches import conditions_of
from app.resource.query.select import narrowed
from app.resource.rows import visible
from app.resource.service import differing, may_change, singular


def create(resource: Resource, items: Sequence[Item], query: Mapping[str, bool]) -> None:
    """Store a new object for each item that has no error yet; an item that fails keeps its error."""
    nothing = dict.fromkeys(column.key for column in resource.model.__table__.columns)
    for item in valid(items):
        item.merge(resource, defaults_of(resource.model))
    check_parents(resource, dict.fromkeys(valid(items), nothing))
    merged = {item: {**nothing, **item.values} for item in valid(items)}
    check(resource, merged, creating=True)
    check_shared(resource, merged, query)
    owner = current_actor().id

    def store(batch: Sequence[Item]) -> None:
        if not resource.model.orm_only:
            ids = writer.allocate_ids(resource, len(batch))
            writer.insert(resource, ids, [item.values for item in batch], owner)
            for item, identity in zip(batch, ids, strict=True):
                item.object_id = identity
            return
        targets = [resource.model(**item.values, created_by_id=owner) for item in batch]
        db.session.add_all(targets)
        db.session.flush()
        for item, target in zip(batch, targets, strict=True):
            item.object_id = target.id

    _store_or_halve(valid(items), store)
    for item in items:
        # A savepoint that was rolled back took the number with it.
        item.object_id = item.object_id if item.error is None else None


def update(resource: Resource, items: Sequence[Item], query: Mapping[str, bool]) -> None:
    """Change the object of each item that has no error yet; an item that fails keeps its error."""
    stored = _find(resource, items)
    check_sent_back(resource, stored)
    for item, row in stored.items():
        item.row = row
        if item.error is None:
            item.merge(resource, row)
    check_parents(resource, {item: stored[item] for item in valid(items)})
    merged = {item: {**stored[item], **item.values} for item in valid(items)}
    check(resource, merged, creating=False)
    check_shared(resource, merged, query)

    def store(batch: Sequence[Item]) -> None:
        if not resource.model.orm_only:
            changes = [_change(resource, stored[item], item.values) for item in batch]
            writer.update(resource.model, [change for change in changes if change.new])
            return
        targets = _loaded(resource, batch)
        for item in batch:
            for name, value in item.values.items():
                setattr(targets[item.object_id], name, value)
        db.session.flush()

    _store_or_halve(_in_order(items), store)


def delete(resource: Resource, items: Sequence[Item], *, cascade: bool) -> list[Removal]:
    """Delete the object of each item that has no error yet; answers all that went."""
    _find(resource, items)
    if not cascade:
        blocked = count_referring(resource.model, {item.object_id for item in valid(items) if item.object_id})
        for item in valid(items):
            if children := blocked.get(item.object_id or 0):
                item.error = has_children(children)
    removals: list[Removal] = []

    def store(batch: Sequence[Item]) -> None:
        targets = list(_loaded(resource, batch).values())
        removal = removal_of(targets, cascade=cascade)
        remove(targets, removal)
        removals.append(removal)

    _store_or_halve(_in_order(items), store)
    return removals


def lock_matching(resource: Resource, query: ListQuery, limit: int) -> list[int]:
    """The ids of the objects that match and that the acting user sees, at most `limit`, locked in their order."""
    query = narrowed(resource, query)
    identity = resource.model.__table__.c.id
    matching = sa.select(identity).where(*conditions_of(resource, query.matching)).order_by(identity).limit(limit)
    return list(db.session.scalars(matching.with_for_update(), query.values))


def _in_order(items: Sequence[Item]) -> list[Item]:
    """Those without an error by their ids, so that two requests about the same objects do not lock in a circle."""
    return sorted(valid(items), key=lambda item: item.object_id or 0)


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
    ids = [item.object_id for item in valid(items) if item.object_id is not None and item.object_id <= MAX_ID]
    statement = sa.select(table).where(any_of(table.c.id, ids), *visible(resource.model)).order_by(table.c.id)
    rows = {row["id"]: dict(row) for row in db.session.execute(statement.with_for_update()).mappings()}
    actor = current_actor()
    stored: dict[Item, Row] = {}
    seen: set[int | None] = set()
    for item in valid(items):
        row = rows.get(item.object_id)
        if row is None:
            item.error = NotFound(
                tr("There is no {what} {object_id}.", what=singular(resource), object_id=item.object_id)
            )
        elif item.object_id in seen:
            item.error = Invalid(errors={"id": [tr("An item before is about the same object.", rule="repeated")]})
        elif not may_change(resource, actor, row["created_by_id"]):
            item.error = NotOwner()
        else:
            stored[item] = row
        seen.add(item.object_id)
    return stored


def _change(resource: Resource, row: Row, values: Mapping[str, Any]) -> writer.Change:
    new = differing(row, values)
    label = str({**row, **new}[resource.model.label])
    return writer.Change(row["id"], row["version"], label, old={name: row[name] for name in new}, new=new)


def _loaded(resource: Resource, items: Sequence[Item]) -> dict[int | None, Any]:
    """The items' objects as the session knows them, read anew: a savepoint leaves ones that are neither old nor new."""
    identity = resource.model.__table__.c.id
    statement = sa.select(resource.model).where(any_of(identity, [item.object_id for item in items])).order_by(identity)
    return {
        target.id: target for target in db.session.scalars(statement, execution_options={"populate_existing": True})
    }
